"""Success against cost: the share of cases in which an attack has come through, draw by draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval.rates.intervals import Proportion, wilson


@dataclass(frozen=True, slots=True)
class Tried:
    """One try at one case, in the order in which they were made."""

    case: str
    success: bool
    """Found by its search seed and, where that was looked at, by a fresh one."""
    passes: int
    """Network passes that it took, search and drawing."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The share of cases that have come through at a cost."""

    draws: int
    """Pictures a case."""
    passes: float
    """Mean network passes a case up to there."""
    share: Proportion


def curve(tried: Sequence[Tried]) -> list[Mark]:
    """A mark at each number of draws a case at which the share rises, and at the last.

    The share never falls, as a case that has come through stays so. A case with fewer tries than
    others counts as not come through beyond its last.
    """
    cases: dict[str, list[Tried]] = {}
    for one in tried:
        cases.setdefault(one.case, []).append(one)
    if not cases:
        return []
    first = {name: _first(tries) for name, tries in cases.items()}
    longest = max(map(len, cases.values()))
    marks: list[Mark] = []
    for draws in range(1, longest + 1):
        count = sum(n is not None and n <= draws for n in first.values())
        if draws in (1, longest) or count != marks[-1].share.count:
            marks.append(Mark(draws, _mean_passes(cases, draws), wilson(count, len(cases))))
    return marks


def _first(tries: Sequence[Tried]) -> int | None:
    return next((n for n, one in enumerate(tries, 1) if one.success), None)


def _mean_passes(cases: Mapping[str, Sequence[Tried]], draws: int) -> float:
    return sum(t.passes for tries in cases.values() for t in tries[:draws]) / len(cases)
