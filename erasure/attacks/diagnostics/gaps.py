"""By how much more a loss rose on pictures of a concept than on pictures of other things."""

# N and M pictures.

import math
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from erasure.attacks.diagnostics.resampling import interval_of_difference
from erasure.errors import ConfigError
from erasure.seeds import generator_for

FEWEST: Final = 2
"""Pictures of a group of which a spread, and so an interval, can be told."""


@dataclass(frozen=True, slots=True)
class Gap:
    """How much higher a loss lies on pictures of the concept than on the controls, each beside a
    loss of the base."""

    ratio: float
    """(loss / base's loss on the concept) / (the same on controls): 1 where both rose alike."""
    low: float
    """Lower end of the 95 % interval."""
    high: float

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {"ratio": self.ratio, "low": self.low, "high": self.high}


def gap(
    concept: Tensor, concept_base: Tensor, controls: Tensor, controls_base: Tensor, *, seed: int
) -> Gap:
    """Compare two models on two groups of pictures.

    A picture's rise is the logarithm of the audited model's loss over the base's, on the same
    noise. The gap is the mean rise of the concept's pictures minus that of the controls, so that a
    model which has merely become worse altogether has none; its interval is that of a bootstrap
    over pictures of both groups.

    Args:
        concept: (N,) losses of the audited model on pictures of the concept.
        concept_base: (N,) those of the base, on the same pictures or on these upside down.
        controls: (M,)
        controls_base: (M,)

    Raises:
        ConfigError: a group has fewer than `FEWEST` pictures.
    """
    if min(len(concept), len(controls)) < FEWEST:
        raise ConfigError(
            f"there are {len(concept)} pictures of the concept and {len(controls)} others; "
            f"give at least {FEWEST} of each"
        )
    one, other = (concept / concept_base).log(), (controls / controls_base).log()
    low, high = interval_of_difference(one, other, generator_for(seed, "trace bootstrap"))
    middle = float(one.mean() - other.mean())
    return Gap(math.exp(middle), math.exp(low), math.exp(high))
