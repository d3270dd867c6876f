"""The figures at the top of a report, the bars of its classes and its table of detections."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final, Literal

from eval.judges.judge import knows_nothing
from eval.rates.intervals import Difference, Proportion
from eval.rates.several_kinds import OF_KIND
from pipelines.evaluation.outcome.results import ClassRate, DetectionCount, Results
from pipelines.evaluation.outcome.summary import Rejected
from pipelines.evaluation.report.report_format import percent
from pipelines.evaluation.report.report_marks import UNSAFE_SUITES

_RATES: Final = {
    # Name of a rate -> what it is called in full, and what it counts.
    "ua": ("Unlearning accuracy", "asked for {erased}, and it is not recognised"),
    "ira": ("In-domain retain accuracy", "asked for another of its kind, and that is recognised"),
    "cra": ("Cross-domain retain accuracy", "the other attribute of those is recognised"),
    "ra": ("Retain accuracy", "asked for another class, and that is recognised"),
}


@dataclass(frozen=True, slots=True)
class Value:
    """A figure of one of the models."""

    value: float
    """A share in [0, 1], or a count."""
    low: float | None = None
    high: float | None = None
    counted: str = ""
    """`59 of 60 pictures`."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One card."""

    tag: str
    title: str
    counts: str
    """What is counted."""
    unit: Literal["share", "count"]
    better: Literal["lower", "higher"]
    after: Value
    before: Value | None = None
    difference: Difference | None = None
    rejected: str = ""
    """How many of its pictures the judge rejects; empty where it cannot."""


@dataclass(frozen=True, slots=True)
class ClassGroup:
    """The classes of one head of one judge: erased ones first, then the least recognised."""

    judge: str
    head: str
    rates: tuple[ClassRate, ...]


@dataclass(frozen=True, slots=True)
class HeatRow:
    """Detections of one class."""

    label: str
    threshold: float
    after: int
    before: int | None
    after_heat: float
    """In [0, 1]: the square root of the share of the largest count, so that few still show."""
    before_heat: float


@dataclass(frozen=True, slots=True)
class HeatTable:
    """What one detector found, exposed body parts first."""

    judge: str
    rows: tuple[HeatRow, ...]


def figures(results: Results) -> Iterator[Figure]:
    """The rates of the summary; of a suite without, or of unsafe prompts, what is unsafe."""
    summary = results.summary
    before, changes = summary.before or {}, summary.difference or {}
    for name, rate in summary.after.items():
        title, counts, erased = _titled(name, results)
        yield Figure(
            tag=name.upper(),
            title=title,
            counts=counts.format(erased=erased),
            unit="share",
            better="higher",
            after=_value(rate),
            before=_value(before[name]) if name in before else None,
            difference=changes.get(name),
            rejected=_rejected((summary.rejected or {}).get(name)),
        )
    if not summary.after or results.suite.name in UNSAFE_SUITES:
        yield from _unsafe(results)


def class_groups(rates: Sequence[ClassRate]) -> list[ClassGroup]:
    """Group the rates, in the order in which judges and heads come."""
    groups: dict[tuple[str, str], list[ClassRate]] = {}
    for rate in rates:
        groups.setdefault((rate.judge, rate.head), []).append(rate)
    return [
        ClassGroup(judge, head, tuple(sorted(members, key=lambda r: (not r.erased, r.after.share))))
        for (judge, head), members in groups.items()
    ]


def heat_tables(results: Results) -> list[HeatTable]:
    """One a detector that has counted classes."""
    tables = []
    for judge, detections in results.detections.items():
        counts = [n for one in detections.classes for n in (one.after, one.before or 0)]
        most = max([1, *counts])
        rows = [
            HeatRow(
                one.label,
                one.threshold,
                one.after,
                one.before,
                sqrt(one.after / most),
                sqrt((one.before or 0) / most),
            )
            for one in detections.classes
        ]
        rows.sort(key=lambda row: "EXPOSED" not in row.label)
        if rows:
            tables.append(HeatTable(judge, tuple(rows)))
    return tables


def _titled(name: str, results: Results) -> tuple[str, str, str]:
    """What a rate is called, what it counts, and the erased labels that it is of."""
    head = name.removeprefix(OF_KIND) if name.startswith(OF_KIND) else None
    title, counts = _RATES.get("ua" if head else name, (name.upper(), ""))
    if head is None:
        return title, counts, ", ".join(results.erased) or "what was erased"
    labels = [row.label for row in results.classes if row.erased and row.head == head]
    return f"{title}, {head}", counts, ", ".join(labels)


def _unsafe(results: Results) -> Iterator[Figure]:
    for score in results.scores:
        yield Figure(
            tag=score.judge,
            title=f"Scored {score.name}",
            counts=f"{score.name} of {score.threshold:g} or more",
            unit="share",
            better="lower",
            after=_value(score.after),
            before=None if score.before is None else _value(score.before),
            difference=score.difference,
        )
    for judge, detections in results.detections.items():
        for preset in detections.presets:
            unit: Literal["share", "count"] = "share" if preset.unit == "images" else "count"
            yield Figure(
                tag=judge,
                title=preset.name,
                counts=f"{len(preset.classes)} classes at {preset.threshold:g} or more",
                unit=unit,
                better="lower",
                after=_detected(preset.after, unit),
                before=None if preset.before is None else _detected(preset.before, unit),
            )


def _rejected(counts: Rejected | None) -> str:
    """`12 of 30 pictures (40.0 %) show none of these, before 0`, or nothing."""
    if counts is None:
        return ""
    rate, was = counts.after, "" if counts.before is None else f", before {counts.before.count:,}"
    shown = f"{rate.count:,} of {rate.total:,} pictures ({percent(rate.share)})"
    return f"{shown} {knows_nothing(rate.count)}{was}"


def _value(rate: Proportion) -> Value:
    return Value(rate.share, rate.low, rate.high, f"{rate.count:,} of {rate.total:,} pictures")


def _detected(count: DetectionCount, unit: str) -> Value:
    words = f"{count.images:,} of {count.total:,} pictures"
    if unit == "share":
        return Value(count.share, count.low, count.high, words)
    return Value(count.detections, counted=f"in {words}")
