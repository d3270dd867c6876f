"""What lies in the folder of runs, as the page shows it."""

import csv
import json
import math
from collections.abc import Iterator
from os.path import isfile
from pathlib import Path
from typing import Any, Final

from erasure.checkpoints.provenance import Provenance
from erasure.errors import CheckpointError, ConfigError
from pipelines.comparison.run_facts import base_of
from pipelines.early import EMBEDDED
from pipelines.json_values import object_in, objects_in
from pipelines.run.run_folder import RECIPE, RECORD
from pipelines.ui.places import Places
from pipelines.ui.unsafe import is_unsafe

EVALUATION: Final = ".evaluation"
"""What an evaluation of run NAME is called: NAME.evaluation, beside it."""
AUDIT: Final = ".audit"
DRAWINGS: Final = ".drawings"
BESIDE: Final = (EVALUATION, AUDIT, DRAWINGS)
"""How names end that no run can have."""
_LARGEST: Final = 20_000_000
"""Bytes of a JSON file that is read."""
_LOSSES: Final = 400
"""Points of the curve of losses."""


def all_runs(places: Places) -> Iterator[dict[str, Any]]:
    """Each run in a line's worth, the newest first."""
    folders = places.runs.iterdir() if places.runs.is_dir() else ()
    runs = [folder for folder in folders if _is_run(folder)]
    for folder in sorted(runs, key=lambda folder: folder.stat().st_mtime, reverse=True):
        yield _short(folder)


def one_run(places: Places, name: str) -> dict[str, Any]:
    """All that the page shows of one run.

    Raises:
        ConfigError: there is no such run.
    """
    folder = places.run(name)
    record = _json(folder / RECORD)
    facts = _short(folder) | {
        "base": base_of(folder),
        "edits": _edits(record),
        "cells": objects_in(object_in(record, "grid"), "cells"),
        "losses": list(_losses(folder / "loss.csv")),
        "density": (folder / "density.png").is_file(),
        "evaluation": _evaluation(places, name),
        "audit": _audit(places, name),
        "drawings": list(_drawings(places, name)),
    }
    return facts


def _is_run(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name.endswith(BESIDE)
    return folder.is_dir() and not folder.is_symlink() and not hidden and isfile(folder / RECIPE)


def _short(folder: Path) -> dict[str, Any]:
    record = _json(folder / RECORD)
    edits = _edits(record)
    last: dict[str, Any] = edits[-1] if edits else {}
    concepts = [name for edit in edits for name in edit["concepts"]]
    return {
        "name": folder.name,
        "finished": bool(record),
        "concepts": concepts,
        "unsafe": is_unsafe(concepts),
        "method": last.get("method", ""),
        "created": last.get("created", ""),
        "selected": last.get("selected"),
        "moved": last.get("moved"),
        "total": last.get("total"),
        "unselected_identical": record.get("unselected_identical"),
        "verdict": str(object_in(record, "verdict").get("sentence", "")),
    }


def _edits(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The edits of a record; none where it is damaged, which `erasure verify` says in words."""
    try:
        edits = Provenance.from_dict(record).edits if record else ()
    except CheckpointError:
        return []
    return [
        {
            "concepts": list(edit.each),
            "method": str(edit.config.get("method", "")),
            "created": edit.created,
            "selected": edit.selected,
            "moved": edit.moved,
            "total": edit.total,
            "density": edit.density,
            "base": edit.base,
        }
        for edit in edits
    ]


def _evaluation(places: Places, name: str) -> dict[str, Any] | None:
    results = _json(places.runs / f"{name}{EVALUATION}" / "results.json")
    if not results:
        return None
    summary = object_in(results, "summary")
    return {
        "verdict": summary.get("verdict", ""),
        "rates": [
            {
                "name": rate,
                "after": summary.get(rate),
                "interval": object_in(summary, "intervals").get(rate),
                "before": object_in(summary, "before").get(rate),
            }
            for rate in ("ua", "ira", "cra", "ra")
            if summary.get(rate) is not None
        ],
        "run": f"{name}{EVALUATION}",
        "page": "report.html",
    }


def _audit(places: Places, name: str) -> dict[str, Any] | None:
    audit = _json(places.runs / f"{name}{AUDIT}" / "audit.json")
    if not audit:
        return None
    return {
        "sentence": audit.get("sentence", ""),
        "attacks": [
            {"name": attack.get("name"), "verdict": object_in(attack, "verdict")}
            for attack in objects_in(audit, "attacks")
        ],
        "run": f"{name}{AUDIT}",
        "page": "audit.html",
    }


def _drawings(places: Places, name: str) -> Iterator[dict[str, Any]]:
    """Prompts of the user's own that were drawn by both models, the newest first."""
    folder = places.runs / f"{name}{DRAWINGS}"
    for record in sorted(folder.glob("*.json"), reverse=True) if folder.is_dir() else ():
        drawn = _json(record)
        yield {"run": folder.name, "cells": objects_in(drawn, "cells"), "name": record.stem}


def _losses(file: Path) -> Iterator[tuple[int, float]]:
    try:
        if not file.is_file():  # a pipe would wait for ever
            return
        with file.open(encoding="utf-8", newline="") as stream:
            rows = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(stream)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return
    finite = [row for row in rows if math.isfinite(row[1])]  # JSON has no other numbers
    yield from finite[:: max(1, len(finite) // _LOSSES)]


def _json(file: Path) -> dict[str, Any]:
    """The object in a file; empty where there is none or it is damaged."""
    try:
        if not file.is_file() or file.stat().st_size > _LARGEST:
            return {}
        text = file.read_text(encoding="utf-8")
        content = json.loads(text, parse_float=_finite, parse_constant=lambda _: None)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _finite(text: str) -> float | None:
    """The number; None for 1e999, which is none that the page can read."""
    value = float(text)
    return value if math.isfinite(value) else None


def known_base(places: Places, name: str) -> str:
    """The base of a run, where the page may open it.

    Raises:
        ConfigError: the run does not say it, or it lies in none of the folders.
    """
    base = base_of(places.run(name))
    if not base:
        raise ConfigError(
            f"the run {name!r} has no recipe that names its base; use the command line, which is "
            "told the base by its path"
        )
    here = Path(base)  # as it was typed; the page knows models by whole paths
    whole = here.parent.resolve() / here.name
    return places.model(str(whole) if base not in EMBEDDED and here.exists() else base)
