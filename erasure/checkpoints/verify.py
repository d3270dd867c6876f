"""Recompute what a checkpoint says of itself, and compare."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from erasure.checkpoints import embedded
from erasure.checkpoints.description import read_json
from erasure.checkpoints.pickles import is_pickle
from erasure.checkpoints.provenance import FILE_NAME, Provenance
from erasure.checkpoints.reading_file import open_file
from erasure.checkpoints.reading_folder import describe_folder, read_component
from erasure.checkpoints.recognise import family_of_file
from erasure.checkpoints.tensor_file import DATA_HASH, data_hash
from erasure.errors import CheckpointError
from erasure.hashing import weights_hash

_RUN_MODEL: Final = "model"


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison."""

    name: str
    stated: str
    found: str

    @property
    def passed(self) -> bool:
        """What was found is what was stated."""
        return self.stated == self.found


@dataclass(frozen=True, slots=True)
class Verification:
    """All comparisons of one checkpoint."""

    path: Path
    provenance: Provenance | None
    """None where the checkpoint is a plain copy: nothing was erased from it."""
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Every check passed."""
        return all(check.passed for check in self.checks)


def verify(path: Path) -> Verification:
    """Recompute the hashes of a single file, a diffusers folder, or a run with `model/` inside.

    The UNet's hash covers every name, shape and value of it; a single file's data hash covers all
    that follows its header.

    Raises:
        CheckpointError: it cannot be read, or states nothing that could be compared.
    """
    if path.is_file():
        return _stated(path, _verify_file(path))
    if (path / "model_index.json").is_file():
        return _stated(path, _verify_folder(path))
    if (path / _RUN_MODEL / "model_index.json").is_file():
        inner = _verify_folder(path / _RUN_MODEL)
        return _stated(path, Verification(path, inner.provenance, _with_record(path, inner)))
    if path.exists():
        raise CheckpointError(
            f"{path} is no checkpoint: it has neither model_index.json nor {_RUN_MODEL}/; give a "
            "diffusers folder, a single .safetensors file or the folder of a run"
        )
    raise CheckpointError(f"{path} does not exist; give a checkpoint to verify")


def _verify_file(path: Path) -> Verification:
    if is_pickle(path):
        raise CheckpointError(
            f"{path} is a pickle, which states no provenance; only a .safetensors file that "
            "`erasure export` wrote can be verified"
        )
    file = open_file(path)
    embedded.from_header(file.metadata, str(path))  # one that would write elsewhere is refused
    provenance = Provenance.from_header(file.metadata, str(path))
    checks: list[Check] = []
    if provenance is not None:
        family = family_of_file(file.tensors, path)
        part = family.part("unet")
        unet = part.to_diffusers(family.part_of(file.tensors, "unet"))
        checks.append(Check("UNet", provenance.result_hash, weights_hash(unet)))
    if DATA_HASH in file.metadata:
        checks.append(Check("file data", file.metadata[DATA_HASH].lower(), data_hash(path)))
    return Verification(path, provenance, tuple(checks))


def _verify_folder(path: Path) -> Verification:
    describe_folder(path)  # its errors say more than a missing weights file would
    unet = read_component(path, "unet")
    provenance = Provenance.from_header(unet.metadata, str(path))
    if provenance is None:
        return Verification(path, None, ())
    check = Check("UNet", provenance.result_hash, weights_hash(unet.tensors))
    inner = Verification(path, provenance, (check,))
    return Verification(path, provenance, _with_record(path, inner))


def _with_record(path: Path, inner: Verification) -> tuple[Check, ...]:
    """The checks, and one more if `erasure.json` lies in `path`: it must agree with the header."""
    file = path / FILE_NAME
    if not file.is_file() or inner.provenance is None:
        return inner.checks
    record = Provenance.from_dict(read_json(file), str(file))
    agreed = "as in the header"
    odd = [
        name for name, value in record.to_dict().items() if value != getattr(inner.provenance, name)
    ]
    return (*inner.checks, Check(str(file), agreed, f"other {', '.join(odd)}" if odd else agreed))


def _stated(path: Path, found: Verification) -> Verification:
    if not found.checks:
        raise CheckpointError(
            f"{path} states no provenance to compare; only what `erasure erase` or "
            "`erasure export` wrote can be verified"
        )
    return found
