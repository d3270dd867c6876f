"""Where a sanitized checkpoint comes from: one value, as header strings and as `erasure.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, get_type_hints

from erasure.errors import CheckpointError
from erasure.local_paths import without_folders

FORMAT: Final = "erasure-checkpoint 1"
FILE_NAME: Final = "erasure.json"
_HEADER: Final = "erasure."
_CHECKED: Final[Mapping[Any, tuple[type, ...]]] = {str: (str,), int: (int,), float: (float, int)}


def utc_now() -> str:
    """ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What was done to which UNet, and what came out."""

    base_hash: str
    """`erasure.hashing.weights_hash` of the UNet before, as stored."""
    result_hash: str = ""
    """The same of the UNet written beside this; filled in by the writers."""
    mask_hash: str = ""
    """Hash of the mask; empty where there was none."""
    concept: str
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
    """Weights of the UNet."""
    version: str
    """Of this package."""
    created: str = field(default_factory=utc_now)
    """ISO 8601."""
    format: str = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """What `erasure.json` holds; no path of this machine, whatever the settings are."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return values | {"config": without_folders(self.config)}

    def to_header(self) -> dict[str, str]:
        """Header entries `erasure.*`; numbers and the config as JSON with sorted keys."""
        return {
            f"{_HEADER}{name}": value if isinstance(value, str) else _json(value)
            for name, value in self.to_dict().items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = FILE_NAME) -> "Provenance":
        """Read `erasure.json`; keys this version does not know are left out.

        Raises:
            CheckpointError: another format, or an entry is missing or of the wrong type.
        """
        found = values.get("format")
        if found != FORMAT:
            raise CheckpointError(
                f"{source} has provenance format {found!r}, not {FORMAT!r}; "
                "read it with the version of erasure that wrote it"
            )
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        try:
            provenance = cls(**known)
        except TypeError as err:
            raise CheckpointError(f"{source} is incomplete provenance: {err}") from err
        _require_types(provenance, source)
        return provenance

    @classmethod
    def from_header(cls, metadata: Mapping[str, str], source: str) -> "Provenance | None":
        """Read header entries; None where the header has none of them.

        Raises:
            CheckpointError: as `from_dict`, or an entry is not JSON.
        """
        if f"{_HEADER}format" not in metadata:
            return None
        values: dict[str, Any] = {}
        for name, kind in get_type_hints(cls).items():
            text = metadata.get(f"{_HEADER}{name}")
            if text is None:
                continue
            try:
                values[name] = text if kind is str else json.loads(text)
            except ValueError as err:
                raise CheckpointError(f"{source}: {_HEADER}{name} is not JSON: {text!r}") from err
        return cls.from_dict(values, source)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _require_types(provenance: Provenance, source: str) -> None:
    for name, kind in get_type_hints(Provenance).items():
        value = getattr(provenance, name)
        wanted = _CHECKED.get(kind, (Mapping,))
        if not isinstance(value, wanted):
            names = " or ".join(t.__name__ for t in wanted)
            raise CheckpointError(f"{source}: {name} is {value!r}, not {names}")
