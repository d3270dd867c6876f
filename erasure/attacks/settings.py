"""Checks of the settings of attacks."""

import math

from erasure.errors import ConfigError


def require_positive(name: str, *values: float) -> None:
    """Raise ConfigError unless there are values and all are finite numbers above 0."""
    for value in values:
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} is {value}; give a number above 0")
    if not values:
        raise ConfigError(f"{name} names no value; give at least one")


def require_not_negative(name: str, value: float) -> None:
    """Raise ConfigError unless the value is a finite number, 0 or above."""
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{name} is {value}; give 0 or more")


def require_shares(name: str, *values: float) -> None:
    """Raise ConfigError unless there are values and all lie in [0, 1]."""
    for value in values:
        if not 0 <= value <= 1:
            raise ConfigError(f"{name} is {value}; give a share from 0 to 1")
    if not values:
        raise ConfigError(f"{name} names no value; give at least one")
