"""Runs with an evaluation and an audit beside them, made by hand around a finished tiny run."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from erasure.attacks import Cost
from eval.rates.intervals import wilson
from pipelines.audit.outcome.curves import Mark
from pipelines.audit.outcome.results import ArmRecord, AttackRecord, Audit, LineRecord, write_audit
from pipelines.audit.outcome.verdicts import Verdict
from pipelines.evaluation.outcome.results import ModelRecord, Models, Results
from pipelines.evaluation.outcome.results_file import write_results
from support.results.evaluated import evaluation


def record_of(run: Path) -> dict[str, Any]:
    """The newest edit of a run, as `erasure.json` holds it."""
    record: dict[str, Any] = json.loads((run / "erasure.json").read_text(encoding="utf-8"))
    edit: dict[str, Any] = record["edits"][-1]
    return edit


def copied(run: Path, to: Path) -> Path:
    """The run again under another name, with the same weights."""
    shutil.copytree(run, to)
    return to


def models_of(run: Path) -> Models:
    """What an evaluation of this run says of both models."""
    edit = record_of(run)
    return Models(
        after=ModelRecord(name=run.name, hash=edit["result_hash"], family="sd1", concept="church"),
        before=ModelRecord(name=edit["base"], hash=edit["base_hash"], family="sd1"),
    )


def evaluate(run: Path, folder: Path, **changes: Any) -> Results:  # noqa: ANN401
    """Write an evaluation of a run by hand; `changes` are fields of the results."""
    results = replace(evaluation(folder), **{"models": models_of(run), **changes})
    write_results(results, folder)
    return results


def line(hits: int, curve: Sequence[Mark]) -> LineRecord:
    """One attack on one model."""
    return LineRecord(
        reason="",
        found=wilson(hits, 30),
        confirmed=wilson(hits, 30),
        cases_found=wilson(3, 4),
        rejected=None,
        unusable=0,
        cost=Cost(forwards=1000, draws=20, judged=20),
        curve=tuple(curve),
        seconds=1.0,
    )


CURVE = (Mark(1, 50.0, wilson(1, 4)), Mark(4, 200.0, wilson(3, 4)))
FLAT = (Mark(1, 50.0, wilson(0, 4)), Mark(4, 200.0, wilson(0, 4)))


def audit_of(run: Path, *, concept: str = "church", hits: int = 20, **changes: Any) -> Audit:  # noqa: ANN401
    """An audit of a run by hand, of one attack; it revived the concept where it has hits."""
    edit = record_of(run)
    state = "revived" if hits else "not revived within this budget"
    record = AttackRecord(
        name="words",
        title="other words",
        source="none",
        access="words",
        needs=("words",),
        settings={},
        estimate=Cost(),
        verdict=Verdict(state, f"{hits} of 30 pictures show it"),  # type: ignore[arg-type]
        strongest="typo",
        arms=(ArmRecord(arm="typo", test=True, lines={"audited": wilson(hits, 30)}),),
        lines={"base": line(30, CURVE), "audited": line(hits, CURVE if hits else FLAT)},
        finds=(),
    )
    audited: Mapping[str, Any] = {
        "name": run.name,
        "hash": edit["result_hash"],
        "weights": {"unet": edit["result_hash"]},
        "guard": None,
        "notes": [],
    }
    fields: dict[str, Any] = {
        "concept": concept,
        "sentence": f"{concept} is {state}.",
        "weakest": "words" if hits else None,
        "models": {"base": {"name": "demo", "hash": edit["base_hash"]}, "audited": audited},
        "judge": {"name": "canvas", "protocol": {"sha256": "c"}, "false_positives": wilson(0, 60)},
        "material": {"concept": 16},
        "attacks": (record,),
        "not_tested": (),
        "public": (),
        "protocol": {"draws": 96, "seed": 0, "batch_size": 16},
    }
    return Audit(**{**fields, **changes})


def attack(run: Path, folder: Path, **changes: Any) -> Audit:  # noqa: ANN401
    """Write the audit that `audit_of` makes into a folder."""
    audit = audit_of(run, **changes)
    folder.mkdir(parents=True, exist_ok=True)
    write_audit(audit, folder)
    return audit
