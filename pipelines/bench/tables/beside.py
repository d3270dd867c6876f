"""What the cells of methods have of other models: base, retrained, twin, random weights.

Distances and attacks are measured beside these, the same in every cell of a concept and a seed but
for what depends on the row: the pictures that some predictions are of, and the finds that are drawn
again.
"""

from collections.abc import Sequence

from pipelines.bench.sources import Sources
from pipelines.bench.tables.column import Column, Value, pooled
from pipelines.bench.tables.columns import COLUMNS


def values_beside(cells: Sequence[Sources], kind: str) -> dict[str, Value]:
    """Column -> value of a model over the seeds of the methods' cells.

    Args:
        cells: of one concept, in the order of the table.
        kind: one of `UNERASED`.
    """
    return {c.key: value for c in COLUMNS if (value := _beside(c, cells, kind)) is not None}


def _beside(column: Column, cells: Sequence[Sources], kind: str) -> Value | None:
    by_seed: dict[int, list[Value]] = {}
    for one in cells:
        value = None if column.beside is None else column.beside(one, kind)
        if value is not None:
            by_seed.setdefault(one.cell.seed, []).append(value)
    return pooled(column, [_of_seed(column, values) for values in by_seed.values()])


def _of_seed(column: Column, values: Sequence[Value]) -> Value:
    """The first; of shares the largest that has counts, as finds of which row are drawn again is
    chance, and a verdict too holds the highest against a row."""
    if column.unit != "share":
        return values[0]
    return max(values, key=lambda one: (one.total is not None, one.value or 0.0, one.total or 0))
