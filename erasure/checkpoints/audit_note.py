"""What audits said of a model, as notes in its `erasure.json`; the weights' hashes stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from erasure.checkpoints.edit_record import utc_now
from erasure.checkpoints.writing.inventory import CHECKSUM, sealed_record
from erasure.errors import CheckpointError
from erasure.storage.tables import fields_to_table, read_record

AUDITS: Final = "audits"
"""The key of the notes in `erasure.json`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditNote:
    """What one audit said of one concept."""

    concept: str
    weights: Mapping[str, str]
    """Component -> `weights_hash` of what was attacked."""
    base_hash: str = ""
    """That of the main component of the base beside it; empty where there was none."""
    guard: str | None = None
    """What stood before the drawings, in words; None where nothing did."""
    sentence: str
    """The verdict over all attacks."""
    weakest: str | None = None
    """The weakest access that brought it back; None where nothing did."""
    verdicts: Mapping[str, str]
    """Attack -> its verdict."""
    budget: Mapping[str, int]
    """Tries (`draws`), `cases` and fresh pictures (`confirm`) of an attack on a model."""
    seed: int
    judge: str
    false_positives: float
    """Upper bound of the judge's rate on pictures of other things."""
    public: tuple[str, ...] = ()
    """What brings the concept back by itself, and what of it is published: a sentence each."""
    versions: Mapping[str, str] = field(default_factory=dict)
    audit_hash: str
    """SHA-256 of `audit.json` as it was then."""
    created: str = field(default_factory=utc_now)
    """ISO 8601."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return fields_to_table(self)


def audit_notes(record: Mapping[str, Any], source: str) -> tuple[AuditNote, ...]:
    """The notes of a record; none where it was never audited.

    Raises:
        CheckpointError: they are damaged.
    """
    try:
        notes: tuple[AuditNote, ...] = read_record(
            tuple[AuditNote, ...], record.get(AUDITS, []), AUDITS, CheckpointError
        )
    except CheckpointError as err:
        raise CheckpointError(f"{source}: {err}; get it again from its source") from err
    return notes


def with_note(record: Mapping[str, Any], note: AuditNote, source: str) -> dict[str, Any]:
    """The record with a note in place of a former one of the same concept and guard, sealed anew.

    Raises:
        CheckpointError: the notes that are there are damaged.
    """
    others = [
        one
        for one in audit_notes(record, source)
        if (one.concept, one.guard) != (note.concept, note.guard)
    ]
    words = {name: value for name, value in record.items() if name != CHECKSUM}
    return sealed_record({**words, AUDITS: [one.to_dict() for one in _ordered([*others, note])]})


def _ordered(notes: Sequence[AuditNote]) -> list[AuditNote]:
    return sorted(notes, key=lambda one: (one.concept, one.guard or ""))
