"""How much of an edit is applied: none of it at 0, all of it at 1, and what lies on the line."""

import math
from typing import Final

from torch import Tensor

from erasure.errors import ConfigError

MOST: Final = 10.0
"""The largest strength in either direction. The change of a weight is multiplied by it, and far
outside of 0 to 1 nothing is left of the model."""


def require_strength(strength: float) -> float:
    """The strength itself.

    Raises:
        ConfigError: it is no number between -`MOST` and `MOST`.
    """
    number = isinstance(strength, (int, float)) and not isinstance(strength, bool)
    if not number or not math.isfinite(strength) or abs(strength) > MOST:
        raise ConfigError(
            f"strength is {strength!r}, and a number from {-MOST:g} to {MOST:g} is wanted; give 0 "
            "for the base, 1 for the whole edit, or a number between them"
        )
    return float(strength)


def between(base: Tensor, edited: Tensor, strength: float) -> Tensor:
    """Take base + strength * (edited - base), in float64, then rounded to the type of the weights.

    At 0 this is the base and at 1 the edit, to the bit; below 0 and above 1 it lies beyond them.

    Args:
        base: weights on the CPU, any shape.
        edited: the same weights after the edit, of the same shape and type.
        strength: checked by `require_strength`.
    """
    if strength == 0:
        return base
    if strength == 1:
        return edited
    start = base.double()
    return (start + strength * (edited.double() - start)).to(base.dtype)
