"""How strange a concept is to a model: beside pictures of it upside down, which nobody learned.

A model that never saw a concept denoises pictures of it worse than the base does, so a loss above
the base's is no sign of anything by itself. How much worse can be asked of the base: it has hardly
seen such pictures upside down. On both embedded models its loss on upside-down drawings of known
objects is that on drawings of objects it never learned, and a model retrained without a concept has
about the base's loss upside down (docs/audit.md).
"""

# N pictures of the concept, M of other things.

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from erasure.attacks.diagnostics.gaps import Gap, gap
from erasure.attacks.diagnostics.resampling import interval_of_mean, interval_of_ratio
from erasure.errors import ConfigError
from erasure.seeds import generator_for

MARGIN: Final = 0.1
"""Share by which a loss must lie above that of pictures upside down to be called averse."""
HALF: Final = 0.5
"""Share of the way to them below which a model is said to remember."""
State = Literal["remembers", "as never seen", "averse", "undecided"]


@dataclass(frozen=True, slots=True)
class Strangeness:
    """Where a loss lies between the base's on pictures of the concept and upside down."""

    share: float
    """0 where the base's own loss is, 1 where its loss on the pictures upside down is; in
    logarithms."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    over: Gap
    """By how much the loss lies above that upside down, the rise on other things taken off."""

    @property
    def state(self) -> State:
        """A model remembers where the whole interval of the share lies below `HALF`; it is averse
        where that of `over` lies above 1 + `MARGIN`, so that it fights the concept beyond what its
        general damage explains; and the concept is as strange to it as what it never saw where it
        is not averse and the interval of the share lies above `HALF`."""
        if self.high < HALF:
            return "remembers"
        if self.over.low > 1 + MARGIN:
            return "averse"
        return "as never seen" if self.low >= HALF else "undecided"

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "share": self.share,
            "low": self.low,
            "high": self.high,
            "over": self.over.to_dict(),
            "state": self.state,
        }


def tells_apart(upright: Tensor, turned: Tensor, *, seed: int) -> bool:
    """Whether a base's losses (N,) on pictures lie below those on the same ones upside down."""
    rise = (turned / upright).log()
    return interval_of_mean(rise, generator_for(seed, "upside down"))[0] > 0


def strangeness(
    concept: Tensor,
    base: Tensor,
    turned: Tensor,
    controls: Tensor,
    controls_base: Tensor,
    *,
    seed: int,
) -> Strangeness:
    """Place a model's loss between two losses of the base.

    Args:
        concept: (N,) losses of the audited model on pictures of the concept.
        base: (N,) those of the base.
        turned: (N,) those of the base on the same pictures upside down.
        controls: (M,) losses of the audited model on pictures of other things.
        controls_base: (M,) those of the base.

    Raises:
        ConfigError: too few pictures, or the base does not tell the two ways up apart.
    """
    if not tells_apart(base, turned, seed=seed):
        raise ConfigError(
            "the base denoises these pictures as well upside down, so how strange they are is not "
            "told"
        )
    over = gap(concept, turned, controls, controls_base, seed=seed)
    rises = torch.stack([(concept / base).log(), (turned / base).log()], dim=1)
    low, high = interval_of_ratio(rises, generator_for(seed, "strangeness"))
    one, whole = rises.mean(dim=0).tolist()
    return Strangeness(one / whole, low, high, over)
