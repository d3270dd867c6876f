"""What the page of a benchmark shows of one setting: its table, its charts, its settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import log10
from typing import Final

from matplotlib.ticker import LogLocator, MaxNLocator

from eval.rates.unlearning_metrics import METRICS
from pipelines.classifiers.bench.bench_table import Row, best_gaps, why_not
from pipelines.classifiers.bench.page.bench_layout import Panel, panel
from pipelines.classifiers.bench.presets import RETRAIN
from pipelines.drawing.layout.label_places import Label, place_labels
from pipelines.evaluation.report.report_format import MINUS, number

_WIDE: Final = (0.0125, 0.043)
"""Size of a letter and of a line in a chart of 520 x 350 px, as small as it gets beyond phones."""
_NARROW: Final = (0.027, 0.044)
"""Their size in a chart of 220 x 320 px."""
_FULL_BARS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Points that a full bar may stand for."""


@dataclass(frozen=True, slots=True)
class Score:
    """One of the four scores of a row."""

    name: str
    mean: float
    text: str
    deviation: str
    gap: float | None
    """Mean less that of the retrained model over the seeds that both have, points."""
    gap_text: str
    before: str
    """Before the deletion, of a model of its own."""


@dataclass(frozen=True, slots=True)
class Line:
    """One method in a table."""

    row: Row
    scores: tuple[Score, ...]
    place: int
    """1 for the smallest gap of the ranked methods, 2 for the second, else 0."""
    gap: str
    seed_gap: str
    share_of_retraining: str
    steps: str
    moved: float | None
    """Share of the weights, per cent."""
    why: str
    """Why there are no scores."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across a chart; `place` from 0, left or bottom, to 1."""

    place: float
    text: str
    fine: bool = False
    """One that a narrow window has no room for."""


@dataclass(frozen=True, slots=True)
class Scatter:
    """Gap against time."""

    panel: Panel
    labels: Mapping[str, tuple[Label, ...]]
    """By width of the window."""
    across: tuple[Tick, ...]
    upward: tuple[Tick, ...]
    retraining: float | None
    """Where its time is."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One data set, architecture and forget set."""

    name: str
    short: str
    """Without what all settings have in common."""
    lines: tuple[Line, ...]
    """Retraining and the ranked methods, smallest gap first."""
    own: tuple[Line, ...]
    """Methods with a training run of their own."""
    scatter: Scatter | None
    full_bar: float
    best: tuple[Line, ...]
    """At most two."""
    close: bool
    """Whether their gaps are nearer than their deviations over seeds."""


def settings(rows: Sequence[Row], weights: Mapping[str, int]) -> list[Setting]:
    """Each setting, in the order of the table.

    Args:
        rows: of all settings.
        weights: parameters of the model of each setting.
    """
    names = list(dict.fromkeys(row.setting for row in rows))
    return [
        _setting([row for row in rows if row.setting == name], weights.get(name), short)
        for name, short in zip(names, _shortened(names), strict=True)
    ]


def _setting(rows: Sequence[Row], weights: int | None, short: str) -> Setting:
    retrained = next((row for row in rows if row.method == RETRAIN and row.scores), None)
    places = {gap: place for place, gap in enumerate(best_gaps(rows), 1)}
    made = [_line(row, retrained, places, weights) for row in rows]
    made.sort(key=lambda line: (line.row.gap is None, line.row.gap or 0.0))
    lines = tuple(line for line in made if not line.row.own_training)
    best = tuple(line for line in lines if line.place)[:2]
    return Setting(
        name=rows[0].setting,
        short=short,
        lines=lines,
        own=tuple(line for line in made if line.row.own_training),
        scatter=_scatter(rows, retrained),
        full_bar=_full_bar(made),
        best=best,
        close=len(best) == 2 and _close(*best),
    )


def _line(
    row: Row, retrained: Row | None, places: Mapping[float, int], weights: int | None
) -> Line:
    seconds = row.scores["seconds"].mean if row.scores else None
    share = ""
    if retrained is not None and row is not retrained and seconds is not None:
        share = _percent(100 * seconds / max(1e-9, retrained.scores["seconds"].mean))
    moved = None
    if row.moved is not None and weights:
        moved = 100 * row.moved.mean / weights
    return Line(
        row=row,
        scores=tuple(_score(name, row, retrained) for name in METRICS) if row.scores else (),
        place=places.get(round(row.gap, 2), 0) if row.ranked and row.gap is not None else 0,
        gap="" if row.gap is None else f"{row.gap:.2f}",
        seed_gap="" if row.seed_gap is None else str(row.seed_gap).replace("±", " ±"),
        share_of_retraining=share,
        steps="" if row.steps is None else number(round(row.steps.mean)),
        moved=moved,
        why="" if row.scores else why_not(row),
    )


def _percent(share: float) -> str:
    """Two digits, without an exponent."""
    return f"{share:,.0f} %" if share >= 10 else f"{share:.2g} %" if share >= 0.01 else "0 %"


def _score(name: str, row: Row, retrained: Row | None) -> Score:
    score = row.scores[name]
    gap = None if retrained is None or row is retrained else row.gaps.get(name)
    before = row.before.get(name)
    return Score(
        name=name.upper(),
        mean=score.mean,
        text=f"{score.mean:.2f}",
        deviation=f"{score.deviation:.2f}" if score.count > 1 else "",
        gap=gap,
        gap_text="" if gap is None else signed(gap),
        before="" if before is None else f"{before.mean:.2f}",
    )


def signed(points: float) -> str:
    """A difference with its sign, a true minus and two digits."""
    text = f"{points:+.2f}".replace("-", MINUS)
    return "0.00" if text[1:] == "0.00" else text


def _close(one: Line, other: Line) -> bool:
    gaps = (one.row.seed_gap, other.row.seed_gap)
    if any(gap is None or gap.count < 2 for gap in gaps):
        return False
    spread = max(gap.deviation for gap in gaps if gap is not None)
    return abs((one.row.gap or 0.0) - (other.row.gap or 0.0)) < spread


def _full_bar(lines: Sequence[Line]) -> float:
    """Points such that at least three quarters of the bars fit."""
    gaps = sorted(abs(s.gap) for line in lines for s in line.scores if s.gap is not None)
    if not gaps:
        return _FULL_BARS[-1]
    wanted = gaps[(3 * len(gaps)) // 4]
    return next(full for full in _FULL_BARS if full >= min(wanted, 100.0))


def _scatter(rows: Sequence[Row], retrained: Row | None) -> Scatter | None:
    area = panel(rows)
    if area is None or all(dot.row is retrained for dot in area.dots):
        return None
    labels = {}
    for name, size in (("wide", _WIDE), ("narrow", _NARROW)):
        labels[name] = tuple(place_labels(area.labels, size))
    subs = (1, 3) if area.slowest / area.fastest > 30 else (1, 2, 5)
    times = LogLocator(subs=subs).tick_values(area.fastest, area.slowest)
    gaps = MaxNLocator(5).tick_values(0, area.top)
    return Scatter(
        panel=area,
        labels=labels,
        across=tuple(
            Tick(area.across(t), f"{t:g}", fine=not log10(t).is_integer())
            for t in times
            if area.fastest <= t <= area.slowest
        ),
        upward=tuple(Tick(area.up(gap), f"{gap:g}") for gap in gaps if 0 <= gap <= area.top),
        retraining=next((dot.x for dot in area.dots if dot.row is retrained), None),
    )


def _shortened(names: Sequence[str]) -> list[str]:
    """Names without the parts, between slashes, that all have; of one name its last part."""
    parts = [name.split("/") for name in names]
    if len(names) == 1 or len({len(part) for part in parts}) > 1:
        return [part[-1] for part in parts] if len(names) == 1 else list(names)
    differ = [len(set(column)) > 1 for column in zip(*parts, strict=True)]
    return ["/".join(p for p, own in zip(part, differ, strict=True) if own) for part in parts]


def headline(settings: Sequence[Setting]) -> str:
    """Which methods come nearest to retraining; it begins with no name, as pages raise its first
    letter."""
    first = [setting.best[0].row.method for setting in settings if setting.best]
    if not first:
        return "No method has been held against retraining yet"
    most = max(map(first.count, first))
    *others, last = [name for name in dict.fromkeys(first) if first.count(name) == most]
    named = f"{', '.join(others)} and {last}" if others else last
    if len(settings) == 1:
        return f"Nearest to retraining: {named}"
    each = "each " if others else ""
    return f"Nearest to retraining: {named}, {each}in {most} of {len(settings)} settings"


def failures(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Setting, method and reason of everything that has no scores, of some seeds or of all."""
    return [(row.setting, row.method, why) for row in rows for why in row.failures]


def with_all(setting: Setting) -> tuple[Line, ...]:
    """Every line with scores but that of retraining, for the chart of the gaps."""
    return tuple(
        line
        for line in chain(setting.lines, setting.own)
        if line.scores and line.row.method != RETRAIN
    )


def described(values: Mapping[str, object]) -> str:
    """Settings of a method as a line of text."""
    plain: dict[str, object] = {}
    for name, value in values.items():
        nested = value if isinstance(value, Mapping) else {name: value}
        plain |= {str(key): item for key, item in nested.items()}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in plain.items())
