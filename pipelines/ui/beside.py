"""What lies beside a run, of the same name with an ending: its evaluation, audits and drawings."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from erasure.component_names import FIRST_MAIN
from erasure.errors import ConfigError
from pipelines.json_values import object_in, objects_in
from pipelines.ui.places import Places
from pipelines.ui.run_files import changed, object_of
from pipelines.words.unsafe import is_unsafe

EVALUATION: Final = ".evaluation"
"""What an evaluation of run NAME is called: NAME.evaluation, beside it."""
AUDIT: Final = ".audit"
AUDITS: Final = ".audits"
"""The folder in which each concept of a run of several has an audit."""
DRAWINGS: Final = ".drawings"
BESIDE: Final = (EVALUATION, AUDIT, AUDITS, DRAWINGS)
"""How names end that no run can have."""
_WIDEST: Final = 32_767
"""Pixels a side of a picture that browsers draw."""
Weights = Mapping[str, str]
"""Component -> hash of its weights after the newest edit of it."""


def evaluation_of(places: Places, name: str, weights: Weights) -> dict[str, Any] | None:
    """The evaluation of a run; None where there is none."""
    folder = places.beside(name, EVALUATION)
    results = {} if folder.is_symlink() else object_of(folder / "results.json")
    if not results:
        return None
    after = object_in(object_in(results, "models"), "after")
    if _are_others({FIRST_MAIN: after.get("hash"), **object_in(after, "hashes")}, weights):
        return {"verdict": _of_others(Path(folder.name)), "rates": []}
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


def audit_folder(places: Places, name: str, concept: str, concepts: Sequence[str]) -> Path:
    """Where the page's audit of a run's concept lies: NAME.audit, or, where the run has forgotten
    several, a folder for each in NAME.audits.

    Raises:
        ConfigError: there is no such run, or it has not forgotten this.
    """
    if concept not in concepts:
        raise ConfigError(
            f"the run {name!r} has not forgotten {concept[:80]!r} but {', '.join(concepts)[:200]}; "
            "reload the page"
        )
    if len(set(concepts)) == 1:
        return places.beside(name, AUDIT)
    plain = re.sub("[^a-z0-9]+", "-", concept.lower()).strip("-")[:60]
    mark = "" if plain == concept else f"-{hashlib.sha256(concept.encode()).hexdigest()[:8]}"
    return places.beside(name, AUDITS) / f"{plain}{mark}".lstrip("-")


def audits_of(places: Places, name: str, weights: Weights) -> Iterator[dict[str, Any]]:
    """The audits of a run: the one beside it, then those of its concepts."""
    each = places.beside(name, AUDITS)
    there = each.is_dir() and not each.is_symlink()
    for folder in (places.beside(name, AUDIT), *(sorted(each.iterdir()) if there else ())):
        audit = _audit(folder, weights, folder.relative_to(places.runs))
        if audit is not None:
            yield audit


def _audit(folder: Path, weights: Weights, place: Path) -> dict[str, Any] | None:
    audit = {} if folder.is_symlink() else object_of(folder / "audit.json")
    if not audit:
        return None
    concept = str(audit.get("concept", ""))
    audited = object_in(object_in(object_in(audit, "models"), "audited"), "weights")
    if _are_others(audited, weights):
        return {"concept": concept, "sentence": _of_others(place), "attacks": []}
    return {
        "concept": concept,
        "sentence": audit.get("sentence", ""),
        "attacks": [
            {"name": attack.get("name"), "verdict": object_in(attack, "verdict")}
            for attack in objects_in(audit, "attacks")
        ],
        "run": place.parts[0],
        "page": "/".join((*place.parts[1:], "audit.html")),
    }


def drawings_of(places: Places, name: str, weights: Weights) -> Iterator[dict[str, Any]]:
    """Prompts of the user's own that were drawn by both models, the newest first."""
    folder = places.beside(name, DRAWINGS)
    there = folder.is_dir() and not folder.is_symlink()
    records = [(changed(record), record) for record in (folder.glob("*.json") if there else ())]
    for _, record in sorted(records, reverse=True):
        drawn = object_of(record)
        if not _are_others(object_in(object_in(drawn, "weights"), "after"), weights):
            yield {"run": folder.name, "cells": cells_of(drawn), "name": record.stem}


def cells_of(grid: Mapping[str, Any]) -> list[dict[str, Any]]:
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


def _are_others(hashes: Mapping[str, Any], weights: Weights) -> bool:
    """Whether these are hashes of other weights than a run's, which was made anew under its name;
    what older versions wrote names none."""
    return any(hashes[name] != own for name, own in weights.items() if hashes.get(name))


def _of_others(place: Path) -> str:
    """What is said of a folder, by its place among the runs."""
    return (
        f"{place.as_posix()} is of another run that had this name; delete it or move it away, and "
        "press the button again"
    )
