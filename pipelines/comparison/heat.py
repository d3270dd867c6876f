"""Concept by concept: of the pictures that were asked to show one, what the judge saw first."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from eval.judges.judge import NOTHING
from pipelines.comparison.sources import Compared
from pipelines.evaluation.outcome.results import DrawnImage, Results

MOST: Final = 48
"""Concepts of a map: erased ones first, then those whose recognition changed most."""
ANOTHER: Final = "another"
"""Column of what is seen and stands in no row."""
Counts = Mapping[str, Mapping[str, int]]
"""What was asked for -> what was seen -> pictures."""
Evaluated = tuple[str, Results]
"""Name of a run, and what its evaluation found."""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """What one model's pictures show."""

    title: str
    """Name of the run, or of the base."""
    base: bool
    counts: tuple[tuple[int, ...], ...]
    """Pictures, a row a concept that was asked for, a column a concept that was seen."""
    totals: tuple[int, ...]
    """Pictures of each row that could be judged."""


@dataclass(frozen=True, slots=True)
class HeatMaps:
    """The maps of one head of the judge, all with the same rows and columns."""

    head: str
    judge: str
    asked: tuple[str, ...]
    seen: tuple[str, ...]
    """The concepts of the rows in their order, then what else is seen."""
    erased: frozenset[str]
    """Concepts that at least one run was to forget."""
    changed: tuple[bool, ...]
    """Whether a run's row differs from that of its base."""
    maps: tuple[HeatMap, ...]
    """Each base once, before the runs that are held against it."""
    left_out: int
    """Concepts for which there is no room."""


def heat_maps(rows: Sequence[Compared]) -> list[HeatMaps]:
    """The maps of each head that a judge has; none where no run has an evaluation."""
    evaluated = [row for row in rows if row.evaluation is not None]
    heads: dict[str, str] = {}
    for row in evaluated:
        assert row.evaluation is not None
        for rate in row.evaluation.results.classes:
            heads.setdefault(rate.head, rate.judge)
    return [_maps(head, judge, evaluated) for head, judge in heads.items()]


def counts_of(results: Results, side: str, head: str, judge: str) -> Counts:
    """Count the first guesses of one head.

    Args:
        side: `after` or `before`.

    Returns:
        Only pictures that could be judged; without a guess they count as `NOTHING`.
    """
    counts: dict[str, Counter[str]] = {}
    for image in results.images:
        drawn: DrawnImage | None = getattr(image, side)
        asked = image.labels.get(head)
        judgement = None if drawn is None else drawn.judgements.get(judge)
        if asked is not None:
            counts.setdefault(asked, Counter())
        if asked is None or judgement is None:
            continue
        guesses = judgement.guesses.get(head, ())
        counts[asked][guesses[0].label if guesses else NOTHING] += 1
    return counts


@dataclass(frozen=True, slots=True)
class _Counted:
    """The counts of one model, and those of what it is held against; None of a base itself."""

    title: str
    counts: Counts
    base: Counts | None


def _maps(head: str, judge: str, rows: Sequence[Compared]) -> HeatMaps:
    models = list(_counted(head, judge, rows))
    erased = {label for row in rows for label in row.erased}
    every = list(dict.fromkeys(asked for model in models for asked in model.counts))
    changes = {label: max(_changes(label, models), default=0) for label in every}
    order = sorted(every, key=lambda label: (label not in erased, -changes[label]))
    shown = set(order[:MOST])
    asked = [label for label in every if label in shown]
    seen = {name for model in models for label in asked for name in model.counts.get(label, {})}
    more = [ANOTHER] if seen - shown - {NOTHING} else []
    more += [NOTHING] if NOTHING in seen - shown else []
    return HeatMaps(
        head=head,
        judge=judge,
        asked=tuple(asked),
        seen=(*asked, *more),
        erased=frozenset(erased & shown),
        changed=tuple(changes[label] > 0 for label in asked),
        maps=tuple(_map(model, asked, more) for model in models),
        left_out=len(every) - len(asked),
    )


def _counted(head: str, judge: str, rows: Sequence[Compared]) -> Iterator[_Counted]:
    """Each base once, and then the runs that are held against it."""
    bases: dict[str, list[Evaluated]] = {}
    for row in rows:
        assert row.evaluation is not None
        before = row.evaluation.results.models.before
        code = "" if before is None else before.hash
        bases.setdefault(code, []).append((row.name, row.evaluation.results))
    for held in bases.values():
        first = held[0][1]
        base: Counts | None = None
        if first.models.before is not None:
            base = counts_of(first, "before", head, judge)
            yield _Counted(first.models.before.name, base, None)
        for name, results in held:
            own = counts_of(results, "after", head, judge)
            yield _Counted(name, own, own if base is None else base)


def _changes(label: str, models: Sequence[_Counted]) -> Iterator[int]:
    """By how many pictures the row of each run differs from that of its base."""
    for model in models:
        if model.base is not None:
            own, was = Counter(model.counts.get(label, {})), Counter(model.base.get(label, {}))
            yield sum(((own - was) + (was - own)).values())


def _map(model: _Counted, asked: Sequence[str], more: Sequence[str]) -> HeatMap:
    table = []
    for label in asked:
        row = model.counts.get(label, {})
        cells = [row.get(name, 0) for name in asked]
        nothing = row.get(NOTHING, 0) if NOTHING in more else 0
        another = sum(row.values()) - sum(cells) - nothing
        table.append((*cells, *(nothing if name == NOTHING else another for name in more)))
    return HeatMap(model.title, model.base is None, tuple(table), tuple(map(sum, table)))
