"""The audit in the records of the model that it attacked: `erasure.json` of folder and run."""

from pathlib import Path

from erasure.checkpoints.audit_note import AuditNote, with_note
from erasure.checkpoints.provenance import FILE_NAME
from erasure.checkpoints.verify_records import read_record
from erasure.checkpoints.writing.inventory import WEIGHTS, file_hash, stated_hashes
from erasure.errors import CheckpointError
from erasure.storage.files import write_json
from pipelines.audit.outcome.results import Audit
from pipelines.run.run_folder import MODEL


def note_of(audit: Audit, file: Path) -> AuditNote:
    """The short form of an audit.

    Args:
        file: its `audit.json`.
    """
    audited, base = audit.models["audited"], audit.models.get("base")
    return AuditNote(
        concept=audit.concept,
        weights=audited["weights"],
        base_hash="" if base is None else base["hash"],
        guard=audited["guard"],
        sentence=audit.sentence,
        weakest=audit.weakest,
        verdicts={one.name: one.verdict.state for one in audit.attacks},
        budget={name: audit.protocol[name] for name in ("draws", "cases", "confirm")},
        seed=audit.protocol["seed"],
        judge=audit.judge["name"],
        false_positives=audit.judge["false_positives"].high,
        public=audit.public,
        versions=audit.versions,
        audit_hash=file_hash(file),
    )


def write_audit_note(note: AuditNote, folder: Path) -> list[Path]:
    """Put a note into the record of a model's folder, and into that of the run around it.

    No other word of a record changes, and no file beside it.

    Returns:
        The records that were written.

    Raises:
        CheckpointError: the folder has no record, or its weights are not those that were audited.
        DiskError: the disk refuses.
    """
    records = [folder / FILE_NAME]
    if folder.name == MODEL and (folder.parent / FILE_NAME).is_file():
        records.append(folder.parent / FILE_NAME)
    made = []
    for path in records:
        record = read_record(path.parent)
        if record is None:
            raise CheckpointError(
                f"{path.parent} has no {FILE_NAME} to write the audit into; leave --card out"
            )
        stated = stated_hashes(record, WEIGHTS, str(path))
        other = [name for name, own in note.weights.items() if stated.get(name, own) != own]
        if other:
            raise CheckpointError(
                f"{path} is of another {other[0]}, {stated[other[0]][:12]}, than the audited one, "
                f"{note.weights[other[0]][:12]}; audit the model that lies there now"
            )
        made.append((path, with_note(record, note, str(path))))
    for path, record in made:
        write_json(path, record)
    return records
