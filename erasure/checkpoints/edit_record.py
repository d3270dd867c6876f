"""One erasure as a record keeps it: which concept, of which weights, to which weights, and how."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from erasure.component_names import FIRST_MAIN
from erasure.errors import CheckpointError
from erasure.local_paths import without_folders
from erasure.storage.tables import read_record


def utc_now() -> str:
    """ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True, slots=True)
class EditRecord:
    """What was done to which component, and what came out."""

    concept: str
    """What was erased; where it was several concepts together, all of them."""
    concepts: tuple[str, ...] = ()
    """Each of several that were erased together; empty for a single one."""
    base: str = ""
    """What the model before is called: an id on the hub, or the last part of its path."""
    base_hash: str
    """`erasure.storage.tensors.hashing.weights_hash` of the component before, as stored."""
    component: str = FIRST_MAIN
    """Which component of the model was edited, by its folder in the diffusers layout."""
    result_hash: str = ""
    """The same of it after, as the edit left it; filled in when that is first written. A
    copy in a narrower type has another, which stands beside the edits."""
    mask_hash: str = ""
    """Hash of the mask; empty where there was none, or where it is not known."""
    objective: str
    config: Mapping[str, Any]
    """The resolved settings of the run: plain JSON values."""
    density: float
    """Share of the candidate weights that was selected."""
    selected: int
    """Weights that were free to move."""
    moved: int
    """Weights that differ from the base in any bit."""
    total: int
    """Weights of the component."""
    strength: float = 1.0
    """How much of the edit was put in, see `erasure.patches.strength`: the hash after it is of what
    came out of that, all numbers of weights are of the whole edit."""
    version: str
    """The version of this package that made the edit."""
    created: str = field(default_factory=utc_now)
    """ISO 8601."""

    @property
    def each(self) -> tuple[str, ...]:
        """Every concept by itself."""
        return self.concepts or (self.concept,)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; no path of this machine, whatever the settings are."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        concepts = list(values.pop("concepts"))
        values |= {"concepts": concepts} if concepts else {}
        if values["strength"] == 1:  # as it was before edits had one
            del values["strength"]
        return values | {"config": without_folders(self.config)}


def read_edit(values: Mapping[str, Any], source: str) -> EditRecord:
    """What `EditRecord.to_dict` wrote; keys that this version does not know are left out.

    Args:
        source: of the record, for messages.

    Raises:
        CheckpointError: an entry is missing or of the wrong type, or the density is no number.
    """
    try:
        record: EditRecord = read_record(EditRecord, values, "edit", CheckpointError)
        if not math.isfinite(record.density):
            raise CheckpointError(f"edit.density is {values['density']}, not a number")
        if not math.isfinite(record.strength):
            raise CheckpointError(f"edit.strength is {values['strength']}, not a number")
    except CheckpointError as err:
        raise CheckpointError(f"{source}: {err}; get it again from its source") from err
    return record
