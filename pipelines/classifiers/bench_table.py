"""The benchmark's table: means over seeds, the gap to retraining; JSON, CSV and Markdown."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from eval.unlearning_metrics import (
    METRICS,
    Scores,
    Spread,
    average_gap,
    mean_scores,
    seed_gaps,
    spread,
)
from pipelines.classifiers.cells import Cell
from pipelines.classifiers.presets import RETRAIN

_COLUMNS: Final = {"ua": "UA", "ra": "RA", "ta": "TA", "mia": "MIA"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One method under one setting, over seeds."""

    setting: str
    method: str
    seeds: tuple[int, ...]
    """Those that worked."""
    scores: Mapping[str, Spread] = field(default_factory=dict)
    """Of UA, RA, TA, MIA and seconds."""
    gap: float | None = None
    """Avg Gap as papers print it: of the means over seeds."""
    seed_gap: Spread | None = None
    """Avg Gap of each seed; in it, deviations to both sides do not cancel."""
    others: Mapping[str, Spread] = field(default_factory=dict)
    """The attack on other signals."""
    failures: tuple[str, ...] = ()


def table(cells: Iterable[Cell]) -> list[Row]:
    """Rows in the order in which settings and methods first come."""
    groups: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        groups.setdefault(cell.setting, {}).setdefault(cell.row, []).append(cell)
    rows = []
    for setting, by_method in groups.items():
        target = _scores(by_method.get(RETRAIN, ()))
        rows += [_row(setting, name, found, target) for name, found in by_method.items()]
    return rows


def _row(setting: str, name: str, cells: Sequence[Cell], target: Mapping[int, Scores]) -> Row:
    scores = _scores(cells)
    failures = tuple(sorted({cell.error for cell in cells if cell.error}))
    if not scores:
        return Row(setting=setting, method=name, seeds=(), failures=failures)
    shared = sorted(set(scores) & set(target))
    gap = None
    if shared:
        means = [mean_scores([of[seed] for seed in shared]) for of in (scores, target)]
        gap = average_gap(*means)
    signals = {signal for cell in cells for signal in cell.others}
    return Row(
        setting=setting,
        method=name,
        seeds=tuple(sorted(scores)),
        scores={
            metric: spread(getattr(s, metric) for s in scores.values())
            for metric in (*METRICS, "seconds")
        },
        gap=gap,
        seed_gap=spread(seed_gaps(scores, target)) if shared else None,
        others={
            signal: spread(cell.others[signal] for cell in cells if signal in cell.others)
            for signal in sorted(signals)
        },
        failures=failures,
    )


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
    names = ["setting", "method", "seeds", *heads, *gaps, *(f"mia_{s}" for s in signals), "failure"]
    writer.writerow(names)
    for row in rows:
        values = [_parts(row.scores.get(name)) for name in metrics]
        writer.writerow(
            [
                row.setting,
                row.method,
                len(row.seeds),
                *(part for pair in values for part in pair),
                "" if row.gap is None else f"{row.gap:.4f}",
                *_parts(row.seed_gap),
                *(_parts(row.others.get(signal))[0] for signal in signals),
                " ".join(row.failures),
            ]
        )
    return out.getvalue()


def to_markdown(rows: Sequence[Row]) -> str:
    """A section a setting: mean±deviation, the smallest Avg Gap bold, the second in italics."""
    sections = []
    for setting in dict.fromkeys(row.setting for row in rows):
        of = [row for row in rows if row.setting == setting]
        others = [r.gap for r in of if r.gap is not None and r.method != RETRAIN]
        marks = dict(zip(sorted(set(others)), ("**", "*"), strict=False))
        head = ["method", *_COLUMNS.values(), "Avg Gap", "gap by seed", "RTE (s)", "seeds"]
        lines = [f"### {setting}", "", _line(head), _line(["---"] * len(head))]
        lines += [_line(_cells(row, marks)) for row in of]
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


def _cells(row: Row, marks: Mapping[float, str]) -> list[str]:
    if not row.scores:
        return [row.method, f"failed: {row.failures[0] if row.failures else 'no cell'}", *[""] * 7]
    mark = "" if row.method == RETRAIN or row.gap is None else marks.get(row.gap, "")
    seconds = row.scores["seconds"]
    return [
        row.method,
        *(str(row.scores[name]) for name in METRICS),
        "" if row.gap is None else f"{mark}{row.gap:.2f}{mark}",
        "" if row.seed_gap is None else str(row.seed_gap),
        f"{seconds.mean:.1f}",
        str(len(row.seeds)),
    ]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _parts(value: Spread | None) -> tuple[str, str]:
    return ("", "") if value is None else (f"{value.mean:.4f}", f"{value.deviation:.4f}")
