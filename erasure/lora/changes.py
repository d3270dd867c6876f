"""What a LoRA file does to one weight: adds a thin product, adds a tensor, or sets it."""

from dataclasses import dataclass
from math import prod
from typing import Protocol

from torch import Tensor

from erasure.solving.factors import Factors


class Change(Protocol):
    """What happens to one weight."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights that it fits; of thin factors (o, d)."""
        ...

    def applied(self, weight: Tensor, strength: float) -> Tensor:
        """The weight afterwards, float64; `weight` is float64 and stays."""
        ...


def fits(change: Change, shape: tuple[int, ...]) -> bool:
    """Whether a change is one of weights of that shape; a kernel of 1 x 1 may be left out."""
    own = change.shape
    if not (own and shape) or own[0] != shape[0] or prod(own[1:]) != prod(shape[1:]):
        return False
    return own == shape or {len(own), len(shape)} == {2, 4}


@dataclass(frozen=True, slots=True, eq=False)
class Thin:
    """A product of thin factors."""

    factors: Factors
    """Scaled already: alpha / rank is in `up`."""
    kernel: tuple[int, ...]
    """The shape that (o, d) stands for, as the file has it: (o, i), or (o, i, h, w)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights that it fits."""
        return self.kernel

    def applied(self, weight: Tensor, strength: float) -> Tensor:
        """weight + strength up down."""
        return weight + strength * self.factors.change().view(weight.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Full:
    """A whole difference."""

    difference: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights that it fits."""
        return tuple(self.difference.shape)

    def applied(self, weight: Tensor, strength: float) -> Tensor:
        """weight + strength difference."""
        return weight + strength * self.difference.double().view(weight.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """A whole new value, which knows no strength."""

    value: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights that it fits."""
        return tuple(self.value.shape)

    def applied(self, weight: Tensor, strength: float) -> Tensor:
        """The value."""
        return self.value.double().view(weight.shape)
