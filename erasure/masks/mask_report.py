"""Where a mask's weights lie: density by block and by kind of layer, as plain rows."""

from collections.abc import Callable
from dataclasses import dataclass

from erasure.architectures.registry import layers_of
from erasure.masks.masks import SaliencyMask


@dataclass(frozen=True, slots=True)
class DensityRow:
    """Selected weights of one part of the model."""

    part: str
    selected: int
    total: int

    @property
    def density(self) -> float:
        """Share of the part's weights that may move; 0 for a part without weights."""
        return self.selected / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class MaskReport:
    """The same weights cut up in two ways; each list adds up to `whole`."""

    whole: DensityRow
    blocks: tuple[DensityRow, ...]
    """`in`, `time`, `down.0`, ..., `mid`, `up.0`, ..., `out`, in the order of the signal."""
    kinds: tuple[DensityRow, ...]
    """Kinds of layer, in the order of the `LayerNames` of its architecture."""


def mask_report(mask: SaliencyMask) -> MaskReport:
    """Count the mask's weights by block and by kind; parts that the mask does not cover are left
    out. Names that no architecture knows come under `other`.
    """
    counts, layers = mask.counts(), layers_of(mask.entries)
    return MaskReport(
        whole=DensityRow("all", sum(counts.values()), mask.total),
        blocks=_rows(mask, counts, layers.block_of, layers.block_order),
        kinds=_rows(mask, counts, layers.kind_of, lambda kind: (layers.kinds.index(kind), 0)),
    )


def _rows(
    mask: SaliencyMask,
    counts: dict[str, int],
    part_of: Callable[[str], str],
    order: Callable[[str], tuple[int, int]],
) -> tuple[DensityRow, ...]:
    sums: dict[str, tuple[int, int]] = {}
    for name, shape in mask.bits.shapes.items():
        selected, total = sums.get(part_of(name), (0, 0))
        sums[part_of(name)] = (selected + counts[name], total + shape.numel())
    return tuple(DensityRow(part, *sums[part]) for part in sorted(sums, key=order))
