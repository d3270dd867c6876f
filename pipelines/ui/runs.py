"""What lies in the folder of runs, as the page shows it."""

import csv
import math
import os
from collections.abc import Iterator
from os.path import isfile
from pathlib import Path
from typing import Any, Final

from erasure.checkpoints.provenance import Provenance
from erasure.errors import CheckpointError, ConfigError
from erasure.storage.links import resolved
from pipelines.comparison.run_facts import base_of
from pipelines.early import EMBEDDED
from pipelines.evaluation.outcome.verdict import UNATTACKED
from pipelines.json_values import object_in
from pipelines.run.run_folder import RECIPE, RECORD, recipe_of
from pipelines.ui.beside import BESIDE, audits_of, cells_of, drawings_of, evaluation_of
from pipelines.ui.places import Places, may_name_a_run
from pipelines.ui.run_files import changed, is_own, object_of
from pipelines.words.unsafe import is_unsafe

_LOSSES: Final = 400
"""Points of the curve of losses."""


def all_runs(places: Places) -> Iterator[dict[str, Any]]:
    """Each run in a line's worth, the newest first."""
    folders = places.runs.iterdir() if places.runs.is_dir() else ()
    runs = [folder for folder in folders if _is_run(folder)]
    for folder in sorted(runs, key=changed, reverse=True):
        yield _short(folder)


def one_run(places: Places, name: str) -> dict[str, Any]:
    """All that the page shows of one run.

    Raises:
        ConfigError: there is no such run.
    """
    folder = places.run(name)
    record = object_of(folder / RECORD)
    edits = _edits(record)
    weights = {edit["component"]: edit["result"] for edit in edits}
    facts = _short(folder) | {
        "base": base_of(folder),
        "edits": edits,
        "cells": cells_of(object_in(record, "grid")),
        "losses": list(_losses(folder / "loss.csv")),
        "density": (folder / "density.png").is_file(),
        "evaluation": evaluation_of(places, name, weights),
        "audits": list(audits_of(places, name, weights)),
        "drawings": list(drawings_of(places, name, weights)),
    }
    if any(audit["attacks"] for audit in facts["audits"]):
        for judged in filter(None, (facts, facts["evaluation"])):
            judged["verdict"] = _since_attacked(judged["verdict"])
    return facts


def concepts_of(places: Places, name: str) -> list[str]:
    """What a run has forgotten, edit by edit, each once.

    Raises:
        ConfigError: there is no such run.
    """
    return list(dict.fromkeys(_short(places.run(name))["concepts"]))


def _since_attacked(verdict: object) -> str:
    """What plain prompts came to, beside an audit: the sentence was written before it."""
    plain = str(verdict).replace(f"; {UNATTACKED}", "", 1)
    return f"{plain.rstrip('.')}. The attacks are below." if plain != verdict else plain


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
    record = object_of(folder / RECORD)
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
    try:
        whole = None if base in EMBEDDED or not here.exists() else resolved(here.parent) / here.name
    except OSError:  # links in a circle, a name that is too long
        whole = None
    return places.model(base if whole is None else str(whole))


def _losses(file: Path) -> Iterator[tuple[int, float]]:
    try:
        if not is_own(file):
            return
        with file.open(encoding="utf-8", newline="") as stream:
            rows = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(stream)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return
    finite = [row for row in rows if math.isfinite(row[1])]  # JSON has no other numbers
    yield from finite[:: max(1, len(finite) // _LOSSES)]
