"""How far two masks choose the same weights."""

from collections import Counter
from dataclasses import dataclass

import torch

from erasure.architectures.registry import layers_of
from erasure.errors import MaskError
from erasure.masks.masks import SaliencyMask
from erasure.storage.bare_names import shown


@dataclass(frozen=True, slots=True)
class Shared:
    """Counts of weights that masks a and b select in one part of the model."""

    part: str
    """Block of the network, as its architecture names it, or `all`."""
    a: int
    b: int
    intersection: int

    @property
    def union(self) -> int:
        """Weights that at least one mask selects."""
        return self.a + self.b - self.intersection

    @property
    def iou(self) -> float:
        """Intersection over union; 1 where neither selects anything."""
        return self.intersection / self.union if self.union else 1.0

    @property
    def share_of_a_in_b(self) -> float:
        """Share of a's weights that b selects too; 1 where a selects none."""
        return self.intersection / self.a if self.a else 1.0


@dataclass(frozen=True, slots=True)
class MaskOverlap:
    """Overlap over the whole model and over each block, in the order of the signal."""

    whole: Shared
    blocks: tuple[Shared, ...]


def overlap(a: SaliencyMask, b: SaliencyMask) -> MaskOverlap:
    """Compare two masks of one architecture; a parameter that only one covers counts as unselected
    in the other, so masks of different scopes can be compared.

    Raises:
        MaskError: the masks are of two components, share no parameter, or one has another shape.
    """
    if a.info.component != b.info.component:
        raise MaskError(
            f"one mask is of the component {shown(a.info.component)} and the other of "
            f"{shown(b.info.component)}; compare masks of one component"
        )
    counts_a, counts_b, both = a.counts(), b.counts(), _intersections(a, b)
    layers = layers_of((*counts_a, *counts_b))
    sums: tuple[Counter[str], ...] = (Counter(), Counter(), Counter())
    for total, counts in zip(sums, (counts_a, counts_b, both), strict=True):
        for name, count in counts.items():
            total[layers.block_of(name)] += count
    blocks = sorted(
        {layers.block_of(name) for name in (*counts_a, *counts_b)}, key=layers.block_order
    )
    return MaskOverlap(
        whole=Shared("all", *(sum(total.values()) for total in sums)),
        blocks=tuple(Shared(block, *(total[block] for total in sums)) for block in blocks),
    )


def _intersections(a: SaliencyMask, b: SaliencyMask) -> dict[str, int]:
    shared = [name for name in a.entries if name in b.entries]
    if not shared:
        raise MaskError("the masks share no parameter name; compare masks of one architecture")
    counts = {}
    for name in shared:
        first, second = a.entries[name], b.entries[name]
        if first.shape != second.shape:
            raise MaskError(
                f"{name} has shape {tuple(first.shape)} in one mask and {tuple(second.shape)} in "
                "the other; compare masks of one architecture"
            )
        counts[name] = int(torch.count_nonzero(first & second.to(first.device)))
    return counts
