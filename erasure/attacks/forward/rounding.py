"""Rounding the weights to few bits: small edits may fall back into the base's bin."""

# O output channels.

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from erasure.attacks.forward.lazy_weights import LazyWeights, matrices
from erasure.attacks.payload import Attempt, Cost
from erasure.attacks.protocol import Access, Need
from erasure.attacks.target import Target
from erasure.attacks.trials import by_weights, drawing_cost, within_budget
from erasure.errors import ConfigError


def scale_of(weight: Tensor, bits: int) -> Tensor:
    """Width of a bin of each output channel, (O, 1, ...): the largest value has the last bin."""
    largest = weight.float().flatten(1).abs().amax(1)
    scale: Tensor = (largest / (2 ** (bits - 1) - 1)).view(-1, *[1] * (weight.dim() - 1))
    return scale


def rounded(weight: Tensor, bits: int, scale: Tensor | None = None) -> Tensor:
    """The nearest representable value of each weight, symmetric, per output channel.

    Args:
        weight: (O, ...).
        bits: 2 or more.
        scale: width of a bin, (O, 1, ...); the weight's own `scale_of` if none.
    """
    width = scale_of(weight, bits) if scale is None else scale
    most = 2 ** (bits - 1) - 1
    safe = torch.where(width > 0, width, torch.ones_like(width))
    nearest: Tensor = (weight.float() / safe).round().clamp(-most, most) * width
    return nearest.to(weight.dtype)


def fallen_back(
    weights: Mapping[str, Tensor], base: Mapping[str, Tensor], bits: int, *, shared: bool
) -> float | None:
    """Share of the moved matrix weights that equal the base's after both are rounded.

    Args:
        shared: whether both have the base's bins; else each has those of its own largest value, as
            who rounds a model without its base gets them.

    Returns:
        A share in [0, 1]; None where no weight moved.
    """
    moved = equal = 0
    for name in matrices(weights):
        now, was = weights[name].float(), base[name].float()
        there = now != was
        if not there.any():
            continue
        bins = scale_of(was, bits)
        one = rounded(now, bits, bins if shared else None)
        other = rounded(was, bits, bins)
        close = one == other
        if not shared:
            close |= (one - other).abs() < bins / 2  # each has bins of its own
        moved += int(there.sum())
        equal += int((close & there).sum())
    return equal / moved if moved else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rounding:
    """Round the matrices and convolutions of the network to the nearest, then draw plain prompts.

    Source: arXiv:2410.16454, which found that rounding gives language models back what they forgot;
        symmetric, per output channel, and simulated: the products are computed in float32.
    """

    name: ClassVar[str] = "rounding"
    title: ClassVar[str] = "weights rounded to 8, 6 and 4 bits"
    source: ClassVar[str] = "arXiv:2410.16454"
    needs: ClassVar[frozenset[Need]] = frozenset({"weights"})
    access: ClassVar[Access] = "rounding"

    bits: tuple[int, ...] = (8, 6, 4)
    """Bits of a weight, each an arm."""

    def __post_init__(self) -> None:
        for bits in self.bits:
            if not 2 <= bits <= 16:
                raise ConfigError(f"bits is {bits}; give 2 to 16")
        if not self.bits:
            raise ConfigError("bits names no value; give at least one")

    def estimate(self, target: Target, /) -> Cost:
        """The drawings."""
        return drawing_cost(target, len(self.bits) * len(target.cases))

    @within_budget
    def run(self, target: Target, /) -> Iterator[Attempt]:
        """All roundings of one case, then of the next."""
        arms = (_arm(target, bits) for bits in dict.fromkeys(self.bits))
        yield from by_weights(target, self.name, arms)


def _arm(target: Target, bits: int) -> tuple[str, LazyWeights, dict[str, int | float | None]]:
    """Name, weights and notes of the arm of so many bits."""
    own = target.learned
    lazy = LazyWeights(own, matrices(own), lambda _, value: rounded(value, bits))
    replay: dict[str, int | float | None] = {"bits": bits}
    if target.base is not None and target.base is not target:
        base = target.base.learned
        replay["share_like_base_own_scale"] = fallen_back(own, base, bits, shared=False)
        replay["share_like_base_shared_scale"] = fallen_back(own, base, bits, shared=True)
    return f"int{bits}", lazy, replay
