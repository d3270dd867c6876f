"""What lies beside the weights, against the record: configs, files, a run's mask and recipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.description import read_json
from erasure.checkpoints.provenance import FILE_NAME, Provenance
from erasure.checkpoints.reading.reading_folder import weights_files
from erasure.checkpoints.writing.inventory import CHECKSUM, FILES, checksum, file_hash, stated_files
from erasure.errors import MaskError
from erasure.masks import mask_file  # whole, as it imports this package in turn
from erasure.storage.bare_names import shown

MASK: Final = "mask.safetensors"
CARD: Final = "README.md"
_CARD: Final = "a card that people and `erasure evaluate --card` write into"
NOT_RECORDED: Final = "not recorded by the version that wrote it"
_STRANGE: Final = "not in the record; it was put there later"
_COMPONENTS: Final = {p.component for one in ARCHITECTURES.values() for p in one.parts}


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison."""

    name: str
    stated: str
    actual: str

    @property
    def passed(self) -> bool:
        """What was found is what was stated."""
        return self.stated == self.actual


def read_record(folder: Path) -> Mapping[str, Any] | None:
    """`erasure.json` of a folder; None where there is none."""
    file = folder / FILE_NAME
    return read_json(file) if file.is_file() else None


def check_record(
    checks: list[Check], record: Mapping[str, Any], provenance: Provenance | None, folder: Path
) -> None:
    """`erasure.json` against its checksum, and its edits against those in the header of the main
    component's file."""
    file = str(folder / FILE_NAME)
    if CHECKSUM in record:
        checks.append(Check(f"words of {FILE_NAME}", str(record[CHECKSUM]), checksum(record)))
    agreed = "as in the header"
    own, known = Provenance.from_dict(record, file), provenance or Provenance()
    one, other = own.to_dict(), known.to_dict()
    odd = sorted(key for key in {**one, **other} if one.get(key) != other.get(key))
    if odd == ["edits"] and len(own.edits) == len(known.edits):
        pairs = zip(one["edits"], other["edits"], strict=True)
        odd = list(dict.fromkeys(k for a, b in pairs for k in a if a[k] != b.get(k)))
    checks.append(
        Check(f"edits in {FILE_NAME}", agreed, f"other {', '.join(odd)}" if odd else agreed)
    )


def check_files(
    checks: list[Check], unchecked: dict[str, str], record: Mapping[str, Any], folder: Path
) -> None:
    """Every file that the record names against its hash; the others are named as not looked at."""
    stated = stated_files(record, str(folder / FILE_NAME))
    for name, wanted in stated.items():
        checks.append(Check(name, wanted, _hash_within(folder, name)))
    seen = {*stated, *weights_files(_COMPONENTS), FILE_NAME, MASK}
    inside = folder / "model_index.json"
    names = folder.rglob("*") if inside.is_file() else folder.glob("*")
    for path in sorted(names):
        name = path.relative_to(folder).as_posix()
        if name == CARD:
            unchecked[name] = _CARD
        elif name not in seen and (path.is_file() or not inside.is_file()) and name != "model":
            unchecked[name] = _STRANGE if FILES in record else NOT_RECORDED


def check_mask(
    checks: list[Check], unchecked: dict[str, str], provenance: Provenance | None, run: Path
) -> None:
    """The bits of a run's mask, and the model it was made for, against the run's own edit."""
    edit = provenance.edits[-1] if provenance is not None and provenance.edits else None
    if edit is None or not edit.mask_hash:
        unchecked[MASK] = "no edit in the record names a mask"
        return
    try:
        mask = mask_file.load_mask(run / MASK)
        actual = mask_file.mask_hash(mask)
        if mask.info.base not in ("", edit.base_hash):
            actual = f"made for the base {mask.info.base[:12]}"
        if mask.info.component != edit.component:
            actual = f"made for the component {shown(mask.info.component)}"
    except MaskError as err:
        actual = str(err)
    checks.append(Check(MASK, edit.mask_hash, actual))


def _hash_within(folder: Path, name: str) -> str:
    """The hash of a file in a folder; a name that leads out of it, or to no file, has none."""
    path = folder / name
    try:
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            return file_hash(path)
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, links in a circle
        pass
    return "not there"
