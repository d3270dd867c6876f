"""What a mask of single weights means to factors, which move a layer as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from erasure.errors import ConfigError, Way
from erasure.lora.layers import has_factors
from erasure.masks.masks import SaliencyMask
from erasure.masks.packed import PackedBits
from erasure.training.weights.low_rank import LowRank


@dataclass(frozen=True, slots=True, eq=False)
class ModuleMask:
    """A mask that factors can follow."""

    mask: SaliencyMask
    """The same names; nothing is selected of weights that have no factors."""
    layers: tuple[str, ...]
    """Names of the weights of which it selects any."""
    left_out: tuple[str, ...]
    """Weights that the mask selects and that have no factors: biases, norms and tables."""
    said: str
    """What became of the mask, a sentence."""


def module_mask(
    mask: SaliencyMask, weights: Mapping[str, Tensor], how: LowRank, *, own_rank: bool = False
) -> ModuleMask:
    """Choose the layers whose factors move.

    With `modules`, the layers are taken in the order of the share of their weights that the mask
    selects, until they hold as many weights as the mask selects in all layers together: a random
    or an inverse mask stays a control of a salient one, of as many weights. Among equal shares the
    earlier layer comes first. With `dense` the mask stays as it is.

    Args:
        mask: of single weights.
        weights: of the network, by the names of the mask.
        own_rank: whether the method solves for factors of its own rank.

    Raises:
        ConfigError: the mask selects no weight of a linear or convolution layer.
    """
    counts = mask.counts()
    able = [name for name in counts if has_factors(name, weights[name])]
    left = tuple(name for name, count in counts.items() if count and name not in set(able))
    wanted = sum(counts[name] for name in able)
    if not wanted:
        raise ConfigError(
            "the mask selects no weight of a linear or convolution layer, the only ones that have "
            "factors; choose another scope, or leave ",
            Way("--as lora", "low_rank"),
            " out",
        )
    if how.masked == "dense":
        taken = set(able)
        entries = PackedBits.of(
            (n, e if n in taken else torch.zeros_like(e)) for n, e in mask.entries.items()
        )
        layers = tuple(name for name in able if counts[name])
    else:
        sizes = {name: shape.numel() for name, shape in mask.bits.shapes.items()}
        layers = _first(able, counts, sizes, wanted)
        taken = set(layers)
        entries = PackedBits.of(
            (n, torch.full(shape, n in taken)) for n, shape in mask.bits.shapes.items()
        )
    changed = SaliencyMask(entries, mask.info)
    rank = "their own rank" if own_rank else f"rank {how.rank}"
    return ModuleMask(changed, layers, left, _said(rank, how, able, layers, left))


def _first(
    able: list[str], counts: Mapping[str, int], sizes: Mapping[str, int], wanted: int
) -> tuple[str, ...]:
    """The layers with the largest shares, which hold `wanted` weights or a layer's more."""
    ranked = sorted(able, key=lambda name: -counts[name] / sizes[name])
    taken: set[str] = set()
    held = 0
    for name in ranked:
        if held >= wanted:
            break
        taken.add(name)
        held += sizes[name]
    return tuple(name for name in able if name in taken)


def _said(
    rank: str,
    how: LowRank,
    able: list[str],
    layers: tuple[str, ...],
    left: tuple[str, ...],
) -> str:
    cut = ", their change cut down to the mask" if how.masked == "dense" else ""
    said = f"factors of {rank} move {len(layers)} of {len(able)} layers{cut}"
    if not left:
        return said
    return (
        f"{said}; {len(left)} biases, norms and tables that the mask selects have no factors and "
        "stay"
    )
