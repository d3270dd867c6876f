"""Fewer pictures of a suite, such that what was erased and what was not are both looked at."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from prompts.errors import PromptError
from prompts.suites.case import PromptCase, PromptSet

_ERASED_SHARE: Final = 0.5


def limited(suite: PromptSet, erased: Sequence[str], limit: int | None) -> PromptSet:
    """At most `limit` cases of the suite, in its order.

    Where some of its labels were erased, half of the cases are of these, or all that there are,
    and the others of the rest; each label comes about equally often. Where several labels were
    erased, such as two objects, or objects and a style, those with each of them, and with each
    pair, do, and there are more than half of these where each could not be shown otherwise.
    Otherwise they are its first ones, and no more of a file is read.

    Raises:
        PromptError: so few cases leave out a label that was erased, of which nothing could be said.
    """
    if limit is None:
        return suite
    names = set(erased)
    if not (names and suite.heads):
        return replace(suite, cases=list(islice(suite.cases, limit)))
    gone: list[PromptCase] = []
    others: list[PromptCase] = []
    for case in suite.cases:
        (gone if names & set(case.labels.values()) else others).append(case)
    if not gone:
        return replace(suite, cases=others[:limit])
    mixed = _erased_of(names) if len(names) > 1 else None
    kinds = 1 if mixed is None else len(set(map(mixed, gone)))
    half = max(1, round(limit * _ERASED_SHARE), min(kinds, limit))
    first = min(len(gone), max(half, limit - len(others)))
    forgotten = _spread(gone, first, mixed)
    _require_all(names, gone, forgotten, limit=limit, enough=kinds)
    chosen = {c.case for c in (*forgotten, *_spread(others, limit - first))}
    return replace(suite, cases=[case for case in suite.cases if case.case in chosen])


def _require_all(
    names: Collection[str],
    there: Sequence[PromptCase],
    taken: Sequence[PromptCase],
    *,
    limit: int,
    enough: int,
) -> None:
    """Raise PromptError where an erased label that the suite shows is in none of the cases."""
    shown, left = ({n for c in cases for n in c.labels.values()} for cases in (there, taken))
    if lost := sorted(set(names) & (shown - left)):
        raise PromptError(
            f"--limit {limit} draws none of {', '.join(lost)}, so that nothing could be said of "
            f"what was erased; give --limit {enough} or more"
        )


def _erased_of(names: Collection[str]) -> Callable[[PromptCase], str]:
    """What tells cases apart by all that they show of what was erased."""
    return lambda case: ", ".join(sorted(set(names).intersection(case.labels.values())))


def _spread(
    cases: Sequence[PromptCase], count: int, kind: Callable[[PromptCase], str] | None = None
) -> Sequence[PromptCase]:
    """`count` of them, of every label about equally many; all where there are no more.

    The labels are those of the head that has most; of what `kind` says there are as many of each,
    and each of these is spread over the labels. A hash of the id decides which of a label's cases
    come first, so that no cycle of the suite matters.
    """
    mixed = sorted(cases, key=lambda case: hashlib.sha256(case.case.encode()).digest())
    labels: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        for name, label in case.labels.items():
            labels[name].add(label)
    head = max(labels, key=lambda name: len(labels[name]), default="")
    if kind is None:
        return _in_turns(mixed, lambda case: case.labels.get(head))[:count]
    within = _in_turns(mixed, lambda case: (kind(case), case.labels.get(head)))
    return _in_turns(within, kind)[:count]


def _in_turns(
    cases: Sequence[PromptCase], key: Callable[[PromptCase], Hashable]
) -> list[PromptCase]:
    """The first of each key, then the second of each, and so on; else in their order."""
    before: Counter[Hashable] = Counter()
    turns = []
    for case in cases:
        turns.append(before[key(case)])
        before[key(case)] += 1
    return [cases[n] for n in sorted(range(len(cases)), key=turns.__getitem__)]
