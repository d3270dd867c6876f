"""`erasure verify`: recompute what a checkpoint says of itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.options import AsJson, say

if TYPE_CHECKING:
    from erasure.checkpoints.audit_note import AuditNote
    from erasure.checkpoints.edit_record import EditRecord
    from erasure.checkpoints.verification import Verification


def verify(
    path: Annotated[Path, typer.Argument(help="A single file, a diffusers folder, or a run.")],
    as_json: AsJson = False,
) -> None:
    """Check a checkpoint against what it says of itself.

    Recomputes the hashes of weights, configs, tokenizers, header words, and of a run's mask and
    recipe; lists what it checked and what it did not. Exits with 1 where they differ. Hashes show
    change; they do not show who wrote them.
    """
    from erasure.checkpoints.verification import verify as recompute

    verification = recompute(path)
    say(_for_machines(verification) if as_json else _for_people(verification), as_json=as_json)
    wrong = next((check for check in verification.checks if not check.passed), None)
    if wrong is not None:
        typer.echo(
            f"erasure: {path} is not what it says: {wrong.name}: {_short(wrong.actual)}, stated is "
            f"{_short(wrong.stated)}; get it again from its source",
            err=True,
        )
        raise typer.Exit(1)


def _for_machines(verification: "Verification") -> dict[str, Any]:
    from erasure.architectures.registry import title_of

    made = verification.provenance
    return {
        "path": verification.path,
        "verified": verification.passed,
        "checked": {
            check.name: "ok" if check.passed else "DIFFERS" for check in verification.checks
        },
        "not_checked": dict(verification.unchecked),
        title_of(verification.main): verification.network_hash,
        "hashes": dict(verification.hashes),
        "edits": [edit.to_dict() for edit in made.edits] if made else [],
        "restored": made.to_dict().get("restored") if made else None,
        "audits": [note.to_dict() for note in verification.audits],
    }


def _for_people(verification: "Verification") -> dict[str, str]:
    """One line a part; no verdict without what it is of."""
    from erasure.architectures.registry import title_of

    count = len(verification.checks)
    failed = [check.name for check in verification.checks if not check.passed]
    left = (
        f"; {len(verification.unchecked)} not checked"
        if verification.unchecked
        else "; nothing left out"
    )
    result = {
        "path": str(verification.path),
        "verified": f"NO, {len(failed)} of {count} checks differ{left}"
        if failed
        else f"{count} of {count} checks{left}",
    }
    result |= {check.name: "ok" if check.passed else "DIFFERS" for check in verification.checks}
    result |= {name: f"not checked: {why}" for name, why in verification.unchecked.items()}
    result[f"{title_of(verification.main)} hash"] = verification.network_hash
    made = verification.provenance
    if made is not None:
        edited = {edit.component for edit in made.edits} - {verification.main}
        hashes = {name: verification.hashes.get(name, "not there") for name in sorted(edited)}
        result |= {f"{title_of(name)} hash": value for name, value in hashes.items()}
        for number, edit in enumerate(made.edits, 1):
            result["erased" if len(made.edits) == 1 else f"erased {number}"] = _line_of(edit)
        if made.restored is not None:
            gone = ", ".join(made.restored.concepts)
            result["restored"] = f"the base again, as before the erasure of {gone}"
    if made is None or not made.edits:
        result["erased"] = "nothing"
    for note in verification.audits:
        behind = f" behind {note.guard}" if note.guard else ""
        result[_shown(f"audited for {note.concept}{behind}")] = _shown(_audited(note))
    if not verification.audits:
        result["audited"] = "no audit is recorded"
    return result


def _audited(note: "AuditNote") -> str:
    """What was said, within what, by what, and what brings the concept back by itself."""
    budget = ", ".join(f"{name} {count}" for name, count in note.budget.items())
    return (
        f"{note.sentence} Budget: {budget}; seed {note.seed}; judge {note.judge}, false positives "
        f"at most {100 * note.false_positives:.1f} %; audit.json {note.audit_hash[:12]}, "
        f"{note.created}. Note: {'; '.join(note.public)}."
    )


def _shown(text: str) -> str:
    """Words of a file as a terminal may print them, on one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _line_of(edit: "EditRecord") -> str:
    from erasure.architectures.registry import title_of

    base = f" from {edit.base}" if edit.base else ""
    return (
        f"{edit.concept}{base}: {edit.moved:,} of {edit.total:,} weights moved, "
        f"{'' if edit.strength == 1 else f'at strength {edit.strength:g}, '}"
        f"{title_of(edit.component)} "
        f"{edit.base_hash[:12]} -> {edit.result_hash[:12]}, mask {edit.mask_hash[:12] or 'none'}, "
        f"{edit.objective}, by erasure {edit.version}, {edit.created}"
    )


def _short(text: str) -> str:
    """A hash by its beginning, a sentence whole."""
    return text if " " in text else text[:14]
