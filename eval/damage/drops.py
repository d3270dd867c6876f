"""How much less of what was asked for is recognised, group by group, over pairs of one seed.

A group is whatever the pictures are compared by: a neighbour of the concept, the companion in
`church and apple`, an attribute such as a style or a colour.
"""

# N pairs of pictures.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eval.damage.neighbours import Neighbour
from eval.errors import EvalError
from eval.rates.intervals import Difference, Proportion, paired_shares, wilson


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """One group."""

    group: str
    before: Proportion
    after: Proportion
    change: Difference
    """After less before; a loss is negative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourDrop:
    """One neighbour of the concept."""

    rank: int
    """1 is the nearest."""
    similarity: float
    drop: Drop


@dataclass(frozen=True, slots=True)
class RankPoint:
    """One point of the curve of damage over rank."""

    rank: int
    change: Difference
    """Over the pictures of all neighbours up to this rank."""


def drops_by_group(
    groups: Sequence[str], before: Sequence[bool], after: Sequence[bool]
) -> tuple[Drop, ...]:
    """The change of each group with its paired interval, in the order in which groups come.

    Args:
        groups: of each pair of pictures.
        before: whether the base's picture shows what was asked for.
        after: whether the audited model's picture of the same prompt and seed does.

    Raises:
        EvalError: the lengths differ, or there is no pair.
    """
    if not len(groups) == len(before) == len(after) or not groups:
        raise EvalError(
            f"{len(groups)} groups, {len(before)} answers before and {len(after)} after do not "
            "pair; give one of each a picture, at least one"
        )
    pairs = {}
    for group in dict.fromkeys(groups):
        at = [n for n, name in enumerate(groups) if name == group]
        pairs[group] = [before[n] for n in at], [after[n] for n in at]
    return tuple(
        Drop(
            group=group,
            before=wilson(sum(old), len(old)),
            after=wilson(sum(new), len(new)),
            change=paired_shares(old, new),
        )
        for group, (old, new) in pairs.items()
    )


def neighbour_drops(
    ranking: Sequence[Neighbour],
    groups: Sequence[str],
    before: Sequence[bool],
    after: Sequence[bool],
) -> tuple[NeighbourDrop, ...]:
    """The change of each neighbour, nearest first; neighbours without a picture are left out.

    Args:
        ranking: of `eval.damage.neighbours`.
        groups: which neighbour each pair of pictures was asked to show.
        before: see `drops_by_group`.
        after: the same.

    Raises:
        EvalError: as `drops_by_group`, or a group is in no rank.
    """
    drops = {drop.group: drop for drop in drops_by_group(groups, before, after)}
    known = {neighbour.label for neighbour in ranking}
    if lost := [group for group in drops if group not in known]:
        raise EvalError(
            f"the pictures of {lost[0]!r} have no rank; rank it too, or leave its pictures out"
        )
    return tuple(
        NeighbourDrop(rank=n, similarity=one.similarity, drop=drops[one.label])
        for n, one in enumerate(ranking, 1)
        if one.label in drops
    )


def curve_over_rank(
    ranking: Sequence[Neighbour],
    groups: Sequence[str],
    before: Sequence[bool],
    after: Sequence[bool],
) -> tuple[RankPoint, ...]:
    """The change over all neighbours up to each rank: damage that thins out with distance falls.

    Raises:
        EvalError: as `neighbour_drops`.
    """
    return tuple(_points(neighbour_drops(ranking, groups, before, after), groups, before, after))


def _points(
    drops: Sequence[NeighbourDrop],
    groups: Sequence[str],
    before: Sequence[bool],
    after: Sequence[bool],
) -> Iterator[RankPoint]:
    old: list[bool] = []
    new: list[bool] = []
    for one in drops:
        at = [n for n, group in enumerate(groups) if group == one.drop.group]
        old += [before[n] for n in at]
        new += [after[n] for n in at]
        yield RankPoint(one.rank, paired_shares(old, new))
