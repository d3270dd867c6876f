"""What lies in the folder of runs, as the page shows it."""

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping
from os.path import isfile
from pathlib import Path
from typing import Any, Final

from erasure.checkpoints.provenance import Provenance
from erasure.component_names import FIRST_MAIN
from erasure.errors import CheckpointError, ConfigError
from pipelines.comparison.run_facts import base_of
from pipelines.early import EMBEDDED
from pipelines.evaluation.outcome.verdict import UNATTACKED
from pipelines.json_values import object_in, objects_in
from pipelines.run.run_folder import RECIPE, RECORD, recipe_of
from pipelines.ui.places import Places, may_name_a_run
from pipelines.words.unsafe import is_unsafe

EVALUATION: Final = ".evaluation"
"""What an evaluation of run NAME is called: NAME.evaluation, beside it."""
AUDIT: Final = ".audit"
DRAWINGS: Final = ".drawings"
BESIDE: Final = (EVALUATION, AUDIT, DRAWINGS)
"""How names end that no run can have."""
_LARGEST: Final = 20_000_000
"""Bytes of a JSON file that is read."""
_WIDEST: Final = 32_767
"""Pixels a side of a picture that browsers draw."""
_LOSSES: Final = 400
"""Points of the curve of losses."""
Weights = Mapping[str, str]
"""Component -> hash of its weights after the newest edit of it."""


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
    edits = _edits(record)
    weights = {edit["component"]: edit["result"] for edit in edits}
    facts = _short(folder) | {
        "base": base_of(folder),
        "edits": edits,
        "cells": _cells(object_in(record, "grid")),
        "losses": list(_losses(folder / "loss.csv")),
        "density": (folder / "density.png").is_file(),
        "evaluation": _evaluation(places.beside(name, EVALUATION), weights),
        "audit": _audit(places.beside(name, AUDIT), weights),
        "drawings": list(_drawings(places.beside(name, DRAWINGS), weights)),
    }
    if facts["audit"] is not None and facts["audit"]["attacks"]:
        for judged in filter(None, (facts, facts["evaluation"])):
            judged["verdict"] = _since_attacked(judged["verdict"])
    return facts


def _since_attacked(verdict: object) -> str:
    """What plain prompts came to, beside an audit: the sentence was written before it."""
    return str(verdict).replace(f"; {UNATTACKED}", "; the attacks are below", 1)


def _is_run(folder: Path) -> bool:
    hidden = not may_name_a_run(folder.name) or folder.name.endswith(BESIDE)
    if hidden or folder.is_symlink() or not (folder.is_dir() and isfile(folder / RECIPE)):
        return False
    return isfile(folder / RECORD) or _is_begun(folder)


def _is_begun(folder: Path) -> bool:
    """Whether the recipe of a folder without a record is a run's: an evaluation and an audit have
    one too."""
    try:
        return recipe_of(folder) is not None
    except OSError:  # it may not be read, and the page says what it can
        return True


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
            "component": edit.component,
            "result": edit.result_hash,
        }
        for edit in edits
    ]


def _cells(grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pictures of a grid; none where one of them has no place in it, as they stand in pairs.
    A prompt may ask for more than what was erased."""
    cells = objects_in(grid, "cells")
    if not all(_has_place(cell) for cell in cells):
        return []
    return [{**cell, "unsafe": is_unsafe([str(cell.get("prompt", ""))])} for cell in cells]


def _has_place(cell: Mapping[str, Any]) -> bool:
    box = cell.get("box")
    if not isinstance(cell.get("file"), str) or not isinstance(box, list) or len(box) != 4:
        return False
    if any(type(side) is not int or not 0 <= side <= _WIDEST for side in box):
        return False
    left, top, right, bottom = box
    return bool(left < right and top < bottom)


def _evaluation(folder: Path, weights: Weights) -> dict[str, Any] | None:
    results = {} if folder.is_symlink() else _json(folder / "results.json")
    if not results:
        return None
    after = object_in(object_in(results, "models"), "after")
    if _are_others({FIRST_MAIN: after.get("hash"), **object_in(after, "hashes")}, weights):
        return {"verdict": _of_others(folder), "rates": []}
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
        "run": folder.name,
        "page": "report.html",
    }


def _audit(folder: Path, weights: Weights) -> dict[str, Any] | None:
    audit = {} if folder.is_symlink() else _json(folder / "audit.json")
    if not audit:
        return None
    audited = object_in(object_in(object_in(audit, "models"), "audited"), "weights")
    if _are_others(audited, weights):
        return {"sentence": _of_others(folder), "attacks": []}
    return {
        "sentence": audit.get("sentence", ""),
        "attacks": [
            {"name": attack.get("name"), "verdict": object_in(attack, "verdict")}
            for attack in objects_in(audit, "attacks")
        ],
        "run": folder.name,
        "page": "audit.html",
    }


def _drawings(folder: Path, weights: Weights) -> Iterator[dict[str, Any]]:
    """Prompts of the user's own that were drawn by both models, the newest first."""
    there = folder.is_dir() and not folder.is_symlink()
    records = [(_changed(record), record) for record in (folder.glob("*.json") if there else ())]
    for _, record in sorted(records, reverse=True):
        drawn = _json(record)
        if not _are_others(object_in(object_in(drawn, "weights"), "after"), weights):
            yield {"run": folder.name, "cells": _cells(drawn), "name": record.stem}


def _changed(file: Path) -> int:
    """When a file was written; 0 where it went meanwhile."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _are_others(hashes: Mapping[str, Any], weights: Weights) -> bool:
    """Whether these are hashes of other weights than a run's, which was made anew under its name;
    what older versions wrote names none."""
    return any(hashes[name] != own for name, own in weights.items() if hashes.get(name))


def _of_others(folder: Path) -> str:
    return (
        f"{folder.name} is of another run that had this name; delete it or move it away, and press "
        "the button again"
    )


def _losses(file: Path) -> Iterator[tuple[int, float]]:
    try:
        if not _is_own(file):
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
        if not _is_own(file) or file.stat().st_size > _LARGEST:
            return {}
        text = file.read_text(encoding="utf-8")
        content = json.loads(text, parse_float=_finite, parse_constant=lambda _: None)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_own(file: Path) -> bool:
    """Whether it lies here: a pipe would wait for ever, and a link may lead out of the runs."""
    return file.is_file() and not file.is_symlink()


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
    here = Path(os.path.expanduser(base))  # as it was typed; the page knows models by whole paths
    whole = here.parent.resolve() / here.name
    return places.model(str(whole) if base not in EMBEDDED and here.exists() else base)
