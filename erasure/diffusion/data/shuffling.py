"""The order in which samples are taken: endless shuffled passes, any stretch of them by itself."""

from collections.abc import Sequence

import torch

from erasure.seeds import generator_for


def interleaved(
    groups: Sequence[Sequence[int]], start: int, count: int, *key: int | str
) -> list[int]:
    """Positions start..start+count of an endless row that takes from each group in turn.

    Within a group the order is that of `shuffled`, which a single group has as it is.

    Args:
        groups: members of each, at least one.
    """
    if len(groups) == 1:
        return [groups[0][n] for n in shuffled(len(groups[0]), start, count, *key)]
    row = []
    for position in range(start, start + count):
        place, number = divmod(position, len(groups))
        (chosen,) = shuffled(len(groups[number]), place, 1, *key, number)
        row.append(groups[number][chosen])
    return row


def shuffled(n: int, start: int, count: int, *key: int | str) -> list[int]:
    """Positions start..start+count of an endless row of shuffled passes over range(n)."""
    rows: list[int] = []
    for position in range(start, start + count):
        epoch, offset = divmod(position, n)
        if not rows or offset == 0:
            order = torch.randperm(n, generator=generator_for(*key, epoch)).tolist()
        rows.append(order[offset])
    return rows
