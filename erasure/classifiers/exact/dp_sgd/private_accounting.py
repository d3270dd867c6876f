"""How much privacy DP-SGD has spent, and how much noise a budget asks for: opacus' accountants."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, get_args

from erasure.errors import ConfigError

Accountant = Literal["rdp", "prv"]
ACCOUNTANTS: Final = get_args(Accountant)
"""Renyi moments (arXiv:1908.10530), or the tighter privacy random variables (arXiv:2106.02848)."""


@contextmanager
def opacus_needed() -> Iterator[None]:
    """Around imports from opacus: turns its absence into one sentence."""
    with quiet_opacus():
        try:
            yield
        except ImportError as err:
            raise ConfigError(
                "dp-sgd needs opacus; install it with `pip install 'diffusion-erasure[classify]'`"
            ) from err


@contextmanager
def quiet_opacus() -> Iterator[None]:
    """Silence what opacus, and torch because of its hooks, warn of without need."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        warnings.filterwarnings("ignore", module="opacus")
        yield


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the batches of a training come about: each point is in each with the same chance."""

    points: int
    batch_size: int
    """Expected."""
    epochs: int

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.points // self.batch_size)

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    @property
    def rate(self) -> float:
        """Chance of a point to be in a batch, as opacus' engine sets it."""
        return 1 / self.steps_per_epoch

    @property
    def expected(self) -> int:
        """Points a batch, by which sums of gradients are divided; as opacus' engine sets it."""
        return max(1, int(self.points * self.rate))


@lru_cache  # a model asks when it is made, told of, audited and read
def epsilon_of(noise: float, rate: float, steps: int, delta: float, accountant: str) -> float:
    """The epsilon that steps of Poisson samples and Gaussian noise have spent.

    Args:
        noise: deviation of the noise over the clipping norm.
        rate: chance of a point to be in a batch.

    Raises:
        ConfigError: opacus is not installed.
    """
    with opacus_needed():
        from opacus.accountants import create_accountant

        counter = create_accountant(mechanism=accountant)
        counter.history = [(noise, rate, steps)]
        return float(counter.get_epsilon(delta=delta))


def noise_for(epsilon: float, rate: float, steps: int, delta: float, accountant: str) -> float:
    """The least noise, to about 0.01 of epsilon, with which the steps spend at most epsilon.

    Raises:
        ConfigError: no noise suffices, or opacus is not installed.
    """
    with opacus_needed():
        from opacus.accountants.utils import get_noise_multiplier

        try:
            return float(
                get_noise_multiplier(
                    target_epsilon=epsilon,
                    target_delta=delta,
                    sample_rate=rate,
                    steps=steps,
                    accountant=accountant,
                )
            )
        except ValueError as err:
            raise ConfigError(
                f"no noise reaches epsilon {epsilon} at delta {delta} in {steps} steps; give a "
                "larger epsilon, fewer epochs or smaller batches"
            ) from err
