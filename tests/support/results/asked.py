"""Cells of a benchmark that were attacked and measured, with numbers that are known."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.rates.intervals import wilson
from pipelines.bench.cell import Cell, Place
from pipelines.bench.rows import Kind, Row
from pipelines.bench.tables.table import Table, table_of
from pipelines.evaluation.outcome.results_file import write_results
from support.results.evaluated import evaluation

PROTOCOL = {
    "base": {"name": "demo", "hashes": {}},
    "drawn": {},
    **dict.fromkeys(("concepts", "seeds", "neighbours", "search", "audit", "device"), ""),
    "versions": {},
}
"""The least of which a page tells where its numbers come from."""
Shares = Mapping[str, tuple[int, int]]
"""Model -> hits and pictures."""


def reading(units: float, state: str | None = None) -> dict[str, Any]:
    """What one model reads in an entry whose unit is 1."""
    return {"value": units, "units": units, "low": units - 1, "high": units + 1, "state": state}


def entry(name: str, **units: float) -> dict[str, Any]:
    """A headline of a distance; model -> units."""
    readings = {model: reading(value) for model, value in units.items()}
    return {"name": name, "unit": 1.0, "headline": True, "readings": readings}


def share(count: int, total: int) -> dict[str, Any]:
    """As an audit writes it."""
    made = wilson(count, total)
    return {"count": count, "total": total, "share": made.share, "low": made.low, "high": made.high}


def curve(*marks: tuple[int, float, int], total: int = 4) -> list[dict[str, Any]]:
    """Draws, passes and cases that came through, mark by mark."""
    return [{"draws": d, "passes": p, "share": share(n, total)} for d, p, n in marks]


def attack(
    name: str,
    search: Shares,
    repeat: Shares | None = None,
    *,
    curves: Mapping[str, Any] | None = None,
    arms: Sequence[str] = (),
) -> dict[str, Any]:
    """One attack; of every model that is named in `search`."""
    again = repeat or {}
    return {
        "name": name,
        "title": f"the attack {name}",
        "verdict": {"state": "revived", "why": "a test"},
        "arms": [{"arm": arm, "test": True} for arm in arms],
        "lines": {
            model: {
                "found": share(*counts),
                "confirmed": share(*again[model]) if model in again else None,
                "curve": (curves or {}).get(model, []),
            }
            for model, counts in search.items()
        },
    }


def place(root: Path, name: str, kind: Kind = "method", seed: int = 0) -> Place:
    """Where a cell of church lies."""
    row = Row(kind=kind, name=name, mask="all" if kind == "method" else "")
    return Place(row, "church", seed, f"{name}{seed}" + "0" * 20, root)


def cell(
    at: Place,
    *,
    entries: Sequence[Mapping[str, Any]] = (),
    attacks: Sequence[Mapping[str, Any]] = (),
) -> tuple[Place, Cell]:
    """A cell with an evaluation, and what else is given, where it lies."""
    parts = {"distance": ("entries", entries), "audit": ("attacks", attacks)}
    write_results(evaluation(at.folder / "evaluation"), at.folder / "evaluation")
    if at.row.kind == "method":
        (at.folder / "erasure.json").write_text('{"moved": 1}', encoding="utf-8")
    for part, (key, values) in parts.items():
        if values:
            (at.folder / part).mkdir()
            (at.folder / part / f"{part}.json").write_text(json.dumps({key: values}), "utf-8")
    made = Cell(
        key=at.key,
        kind=at.row.kind,
        row=at.row.name,
        mask=at.row.mask,
        concept=at.concept,
        seed=at.seed,
        parts=("evaluate", *(part for part, (_, values) in parts.items() if values)),
    )
    return at, made


def table_with(*made: tuple[Place, Cell | None]) -> Table:
    """The table of these places; None is not made."""
    return table_of([at for at, _ in made], {at.key: one for at, one in made if one is not None})
