"""Where a sanitized checkpoint comes from: its edits, as header strings and as `erasure.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from erasure.checkpoints.edit_record import EditRecord, read_edit
from erasure.component_names import FIRST_MAIN
from erasure.errors import CheckpointError
from erasure.storage.json_text import parsed

FORMAT: Final = "erasure-checkpoint 2"
FIRST_FORMAT: Final = "erasure-checkpoint 1"
"""The format of a single edit, whose fields stand without a list; it is still read."""
FILE_NAME: Final = "erasure.json"
HEADER: Final = "erasure."
"""How all entries of ours in a header begin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """That `patch remove` took edits out again, and which weights are there now."""

    concepts: tuple[str, ...]
    """What the edits had erased."""
    bases: Mapping[str, str]
    """Component -> `weights_hash` of it before those edits, which is what is here."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; of a UNet alone in the form that older versions read."""
        concepts = {"concepts": [*self.concepts]}
        if set(self.bases) == {FIRST_MAIN}:
            return {**concepts, "base_hash": self.bases[FIRST_MAIN]}
        return {**concepts, "base_hashes": dict(self.bases)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What was done to a model, one erasure after the other."""

    edits: tuple[EditRecord, ...] = ()
    """Oldest first. An edit that was made of an edited model begins where the one before it of the
    same component ended; those of stacked patches begin at one base."""
    restored: Restored | None = None

    @property
    def last(self) -> EditRecord:
        """The newest edit; there must be one."""
        return self.edits[-1]

    @property
    def concepts(self) -> tuple[str, ...]:
        """Everything that was erased, oldest first, each once."""
        return tuple(dict.fromkeys(name for edit in self.edits for name in edit.each))

    def to_dict(self) -> dict[str, Any]:
        """What `erasure.json` says of the edits."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "edits": [edit.to_dict() for edit in self.edits],
        }
        if self.restored is not None:
            values["restored"] = self.restored.to_dict()
        return values

    def to_header(self) -> dict[str, str]:
        """Header entries `erasure.*`; what is not text as JSON with sorted keys. `erasure.concept`
        is for people who look at a header with other tools; it is not read back."""
        entries = self.to_dict() | ({"concept": ", ".join(self.concepts)} if self.edits else {})
        return {
            f"{HEADER}{name}": value if isinstance(value, str) else header_json(value)
            for name, value in entries.items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = FILE_NAME) -> "Provenance":
        """Read `erasure.json`, of this format or of the first; keys that are not known are left
        out.

        Raises:
            CheckpointError: another format, or an entry is missing or of the wrong type.
        """
        format_name = values.get("format")
        if format_name == FIRST_FORMAT:
            return cls(edits=(read_edit(values, source),))
        if format_name != FORMAT:
            raise CheckpointError(
                f"{source} has provenance format {format_name!r:.60}, not {FORMAT!r}; "
                "read it with the version of erasure that wrote it"
            )
        listed = values.get("edits")
        if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
            raise CheckpointError(f"{source} has no list of edits; get it again from its source")
        edits = tuple(read_edit(one, source) for one in listed)
        return cls(edits=edits, restored=_restored(values.get("restored"), source))

    @classmethod
    def from_header(cls, metadata: Mapping[str, str], source: str) -> "Provenance | None":
        """Read header entries; None where they tell of no edit, as those of a plain copy.

        Raises:
            CheckpointError: as `from_dict`, or an entry is not JSON.
        """
        format_name = metadata.get(f"{HEADER}format")
        if format_name is None:
            return None
        text = ("concept", "base_hash", "result_hash", "mask_hash", "objective", "version")
        plain = ("format", "created", *(text if format_name == FIRST_FORMAT else ()))
        numbers = ("config", "density", "selected", "moved", "total")
        values: dict[str, Any] = {
            n: metadata[f"{HEADER}{n}"] for n in plain if f"{HEADER}{n}" in metadata
        }
        for name in numbers if format_name == FIRST_FORMAT else ("edits", "restored"):
            if f"{HEADER}{name}" in metadata:
                values[name] = json_entry(metadata, f"{HEADER}{name}", source)
        made = cls.from_dict(values, source)
        return made if made.edits or made.restored else None


def header_json(value: object) -> str:
    """A value as it stands in a header."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def json_entry(metadata: Mapping[str, str], key: str, source: str) -> Any:  # noqa: ANN401
    """A header entry that is JSON; CheckpointError where it is not."""
    try:
        return parsed(metadata[key])
    except ValueError as err:
        raise CheckpointError(
            f"{source}: {key} is not JSON: {metadata[key][:60]!r}; get the file again from its "
            "source"
        ) from err


def edits_of(values: Mapping[str, Any], source: str) -> tuple[EditRecord, ...]:
    """The edits that a patch carries: `Provenance.to_dict`, the older `stacked` list of single
    ones, or none.

    Raises:
        CheckpointError: as `Provenance.from_dict`.
    """
    stacked = values.get("stacked", ())
    if not isinstance(stacked, Sequence) or not all(isinstance(one, Mapping) for one in stacked):
        raise CheckpointError(
            f"{source} has stacked edits that are no list of records; get it again from its source"
        )
    if stacked:
        return tuple(edit for one in stacked for edit in edits_of(one, source))
    return Provenance.from_dict(values, source).edits if "format" in values else ()


def _restored(value: Any, source: str) -> Restored | None:  # noqa: ANN401
    if value is None:
        return None
    entry = value if isinstance(value, Mapping) else {}
    concepts, base = entry.get("concepts"), entry.get("base_hash")
    bases = entry.get("base_hashes", {FIRST_MAIN: base})
    listed = isinstance(concepts, list) and all(isinstance(one, str) for one in concepts)
    named = isinstance(bases, Mapping) and bool(bases)
    if not listed or not named or not all(isinstance(one, str) for one in bases.values()):
        raise CheckpointError(
            f"{source}: restored is {value!r:.60}, not concepts and base_hash; get it again from "
            "its source"
        )
    assert isinstance(concepts, list)
    return Restored(concepts=tuple(concepts), bases=dict(bases))
