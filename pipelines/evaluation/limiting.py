"""Fewer pictures of a suite, such that what was erased and what was not are both looked at."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from prompts.suites.case import PromptCase, PromptSet

_ERASED_SHARE: Final = 0.5


def limited(suite: PromptSet, erased: Sequence[str], limit: int | None) -> PromptSet:
    """At most `limit` cases of the suite, in its order.

    Where some of its labels were erased, half of the cases are of these, or all that there are,
    and the others of the rest; each label comes about equally often. Where labels of several kinds
    were erased, such as objects and a style, those with each of them, and with each pair, do.
    Otherwise they are its first ones, and no more of a file is read.
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
    half = max(1, round(limit * _ERASED_SHARE))
    first = min(len(gone), max(half, limit - len(others)))
    kinds = {head for case in gone for head, label in case.labels.items() if label in names}
    mixed = _erased_of(names) if len(kinds) > 1 else None
    chosen = {c.case for c in (*_spread(gone, first, mixed), *_spread(others, limit - first))}
    return replace(suite, cases=[case for case in suite.cases if case.case in chosen])


def _erased_of(names: Collection[str]) -> Callable[[PromptCase], str]:
    """What tells cases apart by all that they show of what was erased."""
    return lambda case: ", ".join(sorted(set(names).intersection(case.labels.values())))


def _spread(
    cases: Sequence[PromptCase], count: int, kind: Callable[[PromptCase], str] | None = None
) -> Sequence[PromptCase]:
    """`count` of them, of every label about equally many; all where there are no more.

    The labels are those of the head that has most, or what `kind` says. A hash of the id decides
    which of a label's cases come first, so that no cycle of the suite matters.
    """
    mixed = sorted(cases, key=lambda case: hashlib.sha256(case.case.encode()).digest())
    labels: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        for name, label in case.labels.items():
            labels[name].add(label)
    head = max(labels, key=lambda name: len(labels[name]), default="")
    before: Counter[str | None] = Counter()
    turns = []
    for case in mixed:
        shown = case.labels.get(head) if kind is None else kind(case)
        turns.append(before[shown])
        before[shown] += 1
    order = sorted(range(len(mixed)), key=turns.__getitem__)
    return [mixed[n] for n in order[:count]]
