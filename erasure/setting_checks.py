"""Checks that settings make of themselves when they are created, with one sentence for each kind.

Each takes the dataclass and names of its fields. A tuple must hold at least one value, and every
one is checked; None, which stands for a setting that is not given, passes.
"""

from collections.abc import Callable, Iterable
from math import inf

from erasure.errors import ConfigError


def require_counts(settings: object, *names: str) -> None:
    """Raise ConfigError unless each is a finite number, 1 or more."""
    _require(settings, names, "1 or more", lambda value: 1 <= value < inf)


def require_positive(settings: object, *names: str) -> None:
    """Raise ConfigError unless each is a finite number above 0."""
    _require(settings, names, "more than 0", lambda value: 0 < value < inf)


def require_not_negative(settings: object, *names: str) -> None:
    """Raise ConfigError unless each is a finite number, 0 or above."""
    _require(settings, names, "0 or more", lambda value: 0 <= value < inf)


def require_shares(settings: object, *names: str) -> None:
    """Raise ConfigError unless each lies in [0, 1]."""
    _require(settings, names, "a share from 0 to 1", lambda value: 0 <= value <= 1)


def require_choice(settings: object, name: str, *options: str) -> None:
    """Raise ConfigError unless it is one of at least two options."""
    value = getattr(settings, name)
    if value not in options:
        *most, last = map(repr, options)
        raise ConfigError(f"{name} is {value!r}; give {', '.join(most)} or {last}")


def _require(
    settings: object, names: Iterable[str], wanted: str, holds: Callable[[float], bool]
) -> None:
    for name in names:
        value = getattr(settings, name)
        if value is None:
            continue
        values = value if isinstance(value, tuple) else (value,)
        for one in values:
            if not holds(one):
                raise ConfigError(f"{name} is {one}; give {wanted}")
        if not values:
            raise ConfigError(f"{name} names no value; give at least one")
