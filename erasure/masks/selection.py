"""Pick the largest scores over all weights ranked together: exact count, no sort, no copy.

A non-negative float32 orders like its bit pattern read as an integer. So two histograms of 16 bits
each (the high half of every score, then the low half of those in one bin) find the bit pattern of
the k-th largest score exactly. Legend: N weights in all, k of them wanted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from erasure.errors import ConfigError, MaskError
from erasure.masks.packed import PackedBits, pack

CHUNK: Final = 2**22
"""Weights looked at together on other devices; a pass needs about 70 MB beside scores and masks."""

_CACHED: Final = 2**18
"""Weights looked at together on a CPU: few enough to stay in its cache through all operations."""

_HALF: Final = 2**16
_INFINITY: Final = 0x7F80  # High half of +inf; NaN lies above it, and then everything negative.


@dataclass(frozen=True, slots=True)
class _Cutoff:
    """All scores with greater bits are in, and of those with equal bits the first `ties`."""

    bits: int
    ties: int


def check_density(density: float) -> None:
    """Raises ConfigError unless `density` is a share in (0, 1]."""
    if not 0 < density <= 1:
        raise ConfigError(
            f"density is {density}; give a share of the weights above 0 and at most 1"
        )


def selected_count(total: int, density: float) -> int:
    """How many of `total` weights a density means: `max(1, int(total * density))`.

    The product is taken in double precision and cut, as in the released code, so 100 weights at
    0.29 give 28.

    Raises:
        ConfigError: `density` is outside (0, 1].
        MaskError: there are no weights.
    """
    check_density(density)
    if total < 1:
        raise MaskError("there are no weights to select from; give at least one")
    return max(1, int(total * density))


def top_fraction(scores: Mapping[str, Tensor], density: float) -> PackedBits:
    """Select the weights with the largest scores, ranked over all tensors together.

    Args:
        scores: |sum of d loss / d weight| by parameter name; any shapes and devices, finite and
            not negative. Other types than float32 are ranked as rounded to float32.
        density: share to select, in (0, 1].

    Returns:
        For each name, in the same order, a bool tensor of that shape, kept as a bit a weight in
        main memory; exactly `max(1, int(density * N))` entries are True. Among equal scores the
        earlier weight wins (order of the mapping, then flat index). Beyond scores and result it
        takes 0.1 GB and a byte a weight of the largest tensor, at most.

    Raises:
        ConfigError: `density` is outside (0, 1].
        MaskError: there are no weights, or a score is NaN, infinite or negative.

    Source: arXiv:2310.12508, hard-threshold saliency map. The threshold is a rank here, as in the
        released code, which breaks ties by an unstable sort; here they are broken by position.
    """
    return top_fractions(scores, (density,))[0]


def top_fractions(scores: Mapping[str, Tensor], densities: Sequence[float]) -> list[PackedBits]:
    """`top_fraction` for several densities, in the same three passes over the scores."""
    total = sum(value.numel() for value in scores.values())
    return top_counts(scores, [selected_count(total, density) for density in densities])


def top_counts(scores: Mapping[str, Tensor], counts: Sequence[int]) -> list[PackedBits]:
    """`top_fraction` by numbers of weights, each from 0 to N."""
    total = sum(value.numel() for value in scores.values())
    for count in counts:
        if not 0 <= count <= total:
            raise ConfigError(f"{count} weights are asked of {total}; give a number from 0 to that")
    return _select(scores, _cutoffs(scores, counts))


def _cutoffs(scores: Mapping[str, Tensor], counts: Sequence[int]) -> list[_Cutoff]:
    """The bit pattern of the k-th largest score, for each k of `counts`."""
    high = _high_histogram(scores)
    bins = [_bin_from_top(high, count) for count in counts]
    low = _low_histograms(scores, sorted({index for index, _ in bins}))
    cutoffs = []
    for index, wanted in bins:
        rest, ties = _bin_from_top(low[index], wanted)
        cutoffs.append(_Cutoff(bits=index * _HALF + rest, ties=ties))
    return cutoffs


def _bin_from_top(histogram: Tensor, wanted: int) -> tuple[int, int]:
    """The bin that holds the `wanted`-th largest value, and how many of that bin are wanted."""
    reached = histogram.flip(0).cumsum(0)  # reached[i]: how many lie in the i + 1 highest bins
    i = int(torch.searchsorted(reached, wanted))
    index = len(histogram) - 1 - i
    return index, wanted - int(reached[i] - histogram[index])


def _high_histogram(scores: Mapping[str, Tensor]) -> Tensor:
    """Counts of the scores' high 16 bits, (32640,); finds the scores that cannot be ranked."""
    histogram = torch.zeros(_HALF, dtype=torch.int64)
    for name, value in scores.items():
        for _, bits in _chunks(value):
            part = _high_counts(bits)
            if part[_INFINITY:].any():
                part = _high_counts(_plain_zeros(bits))
            if part[_INFINITY:].any():
                kind = "NaN or infinite" if not value.isfinite().all() else "negative or too large"
                raise MaskError(
                    f"the scores of {name} hold values that are {kind}; "
                    "give absolute values that are finite in float32"
                )
            histogram += part
    return histogram[:_INFINITY]


def _high_counts(bits: Tensor) -> Tensor:
    """(65536,), int64, on the CPU."""
    return torch.bincount((bits >> 16).bitwise_and_(_HALF - 1), minlength=_HALF).cpu()


def _low_histograms(scores: Mapping[str, Tensor], bins: Sequence[int]) -> dict[int, Tensor]:
    """For each bin of the high half: counts of the low 16 bits of its scores, (65536,)."""
    histograms = {index: torch.zeros(_HALF, dtype=torch.int64) for index in bins}
    for value in scores.values():
        for _, bits in _chunks(value, plain_zeros=0 in histograms):
            high = bits >> 16
            for index, histogram in histograms.items():
                low = bits[_places(high == index)].bitwise_and_(_HALF - 1)
                if low.numel():
                    histogram += torch.bincount(low, minlength=_HALF).cpu()
    return histograms


def _select(scores: Mapping[str, Tensor], cutoffs: Sequence[_Cutoff]) -> list[PackedBits]:
    packed: list[dict[str, Tensor]] = [{} for _ in cutoffs]
    left = [cutoff.ties for cutoff in cutoffs]
    at_zero = any(cutoff.bits == 0 for cutoff in cutoffs)
    for name, value in scores.items():
        masks = [torch.empty(value.numel(), dtype=torch.bool, device=value.device) for _ in cutoffs]
        for part, bits in _chunks(value, plain_zeros=at_zero):
            for i, (mask, cutoff) in enumerate(zip(masks, cutoffs, strict=True)):
                chosen = mask[part]
                torch.gt(bits, cutoff.bits, out=chosen)
                if left[i]:
                    first = _places(bits == cutoff.bits)[: left[i]]
                    chosen[first] = True
                    left[i] -= len(first)
        for done, mask in zip(packed, masks, strict=True):
            done[name] = pack(mask)
    shapes = {name: value.shape for name, value in scores.items()}
    return [PackedBits(done, shapes) for done in packed]


def _places(chosen: Tensor) -> Tensor:
    """Flat positions of the True ones, int64, on the tensor's device."""
    if chosen.device.type == "cpu":  # numpy finds a few of many 10 times as fast there
        return torch.from_numpy(np.flatnonzero(chosen.numpy()))
    return chosen.nonzero()[:, 0]


def _chunks(value: Tensor, plain_zeros: bool = False) -> Iterator[tuple[slice, Tensor]]:
    """Slices of the flat tensor with their float32 bits as int32; not to be written to.

    -0.0 is told as 0.0 with `plain_zeros`, which needs a copy, and as the least int32 without.
    """
    flat = value.detach().reshape(-1)
    size = _CACHED if value.device.type == "cpu" else CHUNK
    for start in range(0, len(flat), size):
        part = slice(start, start + size)
        bits = flat[part].to(torch.float32).view(torch.int32)
        yield part, _plain_zeros(bits) if plain_zeros else bits


def _plain_zeros(bits: Tensor) -> Tensor:
    return (bits.view(torch.float32) + 0.0).view(torch.int32)  # -0.0 + 0.0 is 0.0
