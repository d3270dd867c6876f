"""The benchmark's table: means over seeds, the gap to retraining; JSON, CSV and Markdown."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from eval.rates.unlearning_metrics import (
    METRICS,
    Scores,
    Spread,
    average_gap,
    mean_scores,
    seed_gaps,
    spread,
)
from pipelines.classifiers.bench.cells import NOT_FOR_THESE, Cell
from pipelines.classifiers.bench.presets import RETRAIN
from pipelines.spreadsheets import safe_cell
from pipelines.words import markdown

_COLUMNS: Final = {"ua": "UA", "ra": "RA", "ta": "TA", "mia": "MIA"}
OWN_TRAINING: Final = "Own training run"
OWN_NOTE: Final = (
    "These methods trained an original of their own. Their gap is to the same retrained model, and "
    "part of it is the difference of the originals, so they are not ranked with the others. The "
    "noise of certified and dp-sgd comes from the seed by torch's ordinary generator, so that the "
    "table can be made again; their bounds hold against those who do not know it."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One method under one setting, over seeds."""

    setting: str
    method: str
    seeds: tuple[int, ...]
    """Those that worked."""
    scores: Mapping[str, Spread] = field(default_factory=dict)
    """The figures of UA, RA, TA, MIA and seconds, by name."""
    gap: float | None = None
    """Avg Gap as papers print it, from the means over seeds."""
    gaps: Mapping[str, float] = field(default_factory=dict)
    """Each score's mean less that of retraining, by name, over the seeds that both have."""
    seed_gap: Spread | None = None
    """Avg Gap of each seed; in it, deviations to both sides do not cancel."""
    others: Mapping[str, Spread] = field(default_factory=dict)
    """The attack on other signals."""
    failures: tuple[str, ...] = ()
    steps: Spread | None = None
    """Steps of the optimiser; None where the method counts none."""
    moved: Spread | None = None
    """Weights that changed; None for a model of its own."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the method."""
    own_training: bool = False
    """Whether the method trained the model itself: its gap is of another original too."""
    before: Mapping[str, Spread] = field(default_factory=dict)
    """Figures of that original before the deletion; its seconds are those of its training."""
    redone: Spread | None = None
    """Share of that training, in per cent, that the deletion took."""
    statements: tuple[str, ...] = ()
    """What may be said of the points that left, a seed each."""
    numbers: Mapping[str, Spread] = field(default_factory=dict)
    """Further numbers of the method, such as `epsilon`."""

    @property
    def ranked(self) -> bool:
        """Whether it is one of the approximate methods that stand against each other.

        One that broke under some seed is not: its gap is of the seeds that went well.
        """
        stands = self.method != RETRAIN and not self.own_training
        return stands and self.gap is not None and not self.failures


def best_gaps(rows: Sequence[Row]) -> list[float]:
    """The smallest and the second smallest Avg Gap of a setting, as its table prints them."""
    return sorted({round(row.gap, 2) for row in rows if row.ranked and row.gap is not None})[:2]


def table(cells: Iterable[Cell]) -> list[Row]:
    """Rows in the order in which settings and methods first come."""
    groups: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        groups.setdefault(cell.setting, {}).setdefault(cell.row, []).append(cell)
    rows = []
    for setting, by_method in groups.items():
        target = _scores(by_method.get(RETRAIN, ()))
        rows += [
            _row(setting, name, cells_of_one, target) for name, cells_of_one in by_method.items()
        ]
    return rows


def _row(setting: str, name: str, cells: Sequence[Cell], target: Mapping[int, Scores]) -> Row:
    scores = _scores(cells)
    row = Row(
        setting=setting,
        method=name,
        seeds=tuple(sorted(scores)),
        failures=tuple(sorted({cell.error for cell in cells if cell.error})),
        values=dict(cells[0].values),
        own_training=any(cell.own_training for cell in cells),
    )
    if not scores:
        return row
    done = [cell for cell in cells if cell.scores is not None]
    shared = sorted(set(scores) & set(target))
    gap, gaps = None, {}
    if shared:
        own, retrained = (mean_scores([of[seed] for seed in shared]) for of in (scores, target))
        gap = average_gap(own, retrained)
        gaps = {name: getattr(own, name) - getattr(retrained, name) for name in METRICS}
    counted = name != RETRAIN and not row.own_training
    row = replace(
        row,
        scores=_spreads(list(scores.values())),
        gap=gap,
        gaps=gaps,
        seed_gap=spread(seed_gaps(scores, target)) if shared else None,
        others=_named([cell.others for cell in done]),
        steps=spread(cell.steps for cell in done) if counted else None,
        moved=None if row.own_training else spread(cell.moved for cell in done),
    )
    deletions = [cell.deletion for cell in done if cell.deletion is not None]
    if not deletions:
        return row
    return replace(
        row,
        before=_spreads([one.before for one in deletions]),
        redone=spread(one.redone for one in deletions),
        statements=tuple(one.statement for one in deletions),
        numbers=_named([one.numbers for one in deletions]),
    )


def _spreads(scores: Sequence[Scores]) -> dict[str, Spread]:
    return {name: spread(getattr(one, name) for one in scores) for name in (*METRICS, "seconds")}


def _named(values: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Each name's values over all cells that have it."""
    names = sorted({name for one in values for name in one})
    return {name: spread(one[name] for one in values if name in one) for name in names}


def _scores(cells: Iterable[Cell]) -> dict[int, Scores]:
    return {cell.seed: cell.scores for cell in cells if cell.scores is not None}


def to_json(rows: Sequence[Row], **about: Any) -> str:  # noqa: ANN401
    """Everything, with `about` beside it."""
    return json.dumps({**about, "rows": [asdict(row) for row in rows]}, indent=2, default=str)


def to_csv(rows: Sequence[Row]) -> str:
    """One line a row: means and deviations."""
    signals = sorted({signal for row in rows for signal in row.others})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    metrics = (*METRICS, "seconds")
    heads = [f"{name}_{part}" for name in metrics for part in ("mean", "deviation")]
    gaps = ["avg_gap", "seed_gap_mean", "seed_gap_deviation"]
    own = ["own_training", *(f"before_{name}" for name in metrics), "redone", "statement"]
    attacks = [f"mia_{signal}" for signal in signals]
    counts = ["steps", "moved"]
    names = ["setting", "method", "seeds", *heads, *gaps, *attacks, *counts, *own, "failure"]
    writer.writerow(names)
    for row in rows:
        values = [_parts(row.scores.get(name)) for name in metrics]
        writer.writerow(
            [
                safe_cell(row.setting),
                safe_cell(row.method),
                len(row.seeds),
                *(part for pair in values for part in pair),
                "" if row.gap is None else f"{row.gap:.4f}",
                *_parts(row.seed_gap),
                *(_parts(row.others.get(signal))[0] for signal in signals),
                *(_parts(value)[0] for value in (row.steps, row.moved)),
                "yes" if row.own_training else "no",
                *(_parts(row.before.get(name))[0] for name in metrics),
                _parts(row.redone)[0],
                safe_cell(row.statements[0] if row.statements else ""),
                safe_cell(" ".join(row.failures)),
            ]
        )
    return out.getvalue()


def to_markdown(rows: Sequence[Row]) -> str:
    """A section a setting: mean±deviation, the smallest Avg Gap bold, the second in italics.

    Methods with a training run of their own stand below the others and are not ranked.
    """
    sections = []
    for setting in dict.fromkeys(row.setting for row in rows):
        of = [row for row in rows if row.setting == setting]
        marks = dict(zip(best_gaps(of), ("**", "*"), strict=False))
        head = ["method", *_COLUMNS.values(), "Avg Gap", "gap by seed", "RTE (s)", "seeds"]
        lines = [f"### {setting}", "", *markdown.head(head)]
        lines += [markdown.row(_cells(row, marks)) for row in of if not row.own_training]
        sections.append("\n".join([*lines, *_own([row for row in of if row.own_training])]) + "\n")
    return "\n".join(sections)


def _cells(row: Row, marks: Mapping[float, str]) -> list[str]:
    if not row.scores:
        return [row.method, why_not(row), *[""] * 7]
    mark = marks.get(round(row.gap, 2), "") if row.ranked and row.gap is not None else ""
    return [
        row.method,
        *(str(row.scores[name]) for name in METRICS),
        "" if row.gap is None else f"{mark}{row.gap:.2f}{mark}",
        "" if row.seed_gap is None else str(row.seed_gap),
        _spent(row.scores["seconds"].mean),
        str(len(row.seeds)),
    ]


def _spent(seconds: float) -> str:
    """A deletion may take a thousandth of a second, a retraining hours."""
    return f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.2g}"


def why_not(row: Row) -> str:
    """Why a row has no scores."""
    why = row.failures[0] if row.failures else "no cell"
    return why if why.startswith(NOT_FOR_THESE) else f"failed: {why}"


def _own(rows: Sequence[Row]) -> list[str]:
    """The table of methods with a training run of their own."""
    if not rows:
        return []
    before = [f"{name} before" for name in _COLUMNS.values()]
    head = ["method", *_COLUMNS.values(), "Avg Gap", "RTE (s)", "redone (%)", *before]
    heads = markdown.head([*head, "trained (s)", "seeds"])
    lines = ["", f"#### {OWN_TRAINING}", "", OWN_NOTE, "", *heads]
    lines += [markdown.row(_own_cells(row, len(head) + 1)) for row in rows]
    statements = [f"- {row.method}: {row.statements[0]}" for row in rows if row.statements]
    return [*lines, "", *statements] if statements else lines


def _own_cells(row: Row, empty: int) -> list[str]:
    if not row.scores or not row.before or row.redone is None:
        return [row.method, why_not(row), *[""] * (empty - 1)]
    return [
        row.method,
        *(str(row.scores[name]) for name in METRICS),
        "" if row.gap is None else f"{row.gap:.2f}",
        _spent(row.scores["seconds"].mean),
        f"{row.redone.mean:.1f}",
        *(str(row.before[name]) for name in METRICS),
        f"{row.before['seconds'].mean:.1f}",
        str(len(row.seeds)),
    ]


def _parts(value: Spread | None) -> tuple[str, str]:
    return ("", "") if value is None else (f"{value.mean:.4f}", f"{value.deviation:.4f}")
