"""What an interrupted run left: tensors that belong to one run, with a checksum."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from erasure.errors import TrainingError
from erasure.storage.disk import disk_errors
from erasure.storage.parts import parts_in
from erasure.storage.regular_files import require_regular
from erasure.storage.tensors.tensor_file import tensors_in, write_tensors

log = logging.getLogger(__name__)


class _DamagedError(TrainingError):
    """A file does not hold what was written, and the one before may: a message without its name."""


@dataclass(frozen=True, slots=True)
class Found:
    """A state that can be used."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    file: Path


def before(path: Path) -> Path:
    """Where the state stays that `path` held before the last save."""
    return path.with_name(f"{path.name}.old")


def is_kept(path: Path) -> bool:
    """Whether there is a state to go on from, damaged or not."""
    return path.exists() or before(path).exists()


def drop(path: Path) -> None:
    """Remove all that saves to `path` left.

    Raises:
        DiskError: the disk refuses.
    """
    with disk_errors(path):
        for file in (*parts_in(path.parent, path.name), before(path), path):
            file.unlink(missing_ok=True)


def save_run(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    kind: str,
    run: str,
    keep: Path | None = None,
    **more: str,
) -> None:
    """Write tensors atomically.

    Args:
        kind: name and version of the format.
        run: hash of everything that makes two runs the same run (base, mask, data, settings).
        keep: where the file that was at `path` goes once the new one is on the disk; None drops it.
        more: further metadata.
    """
    metadata = {"format": kind, "run": run, **more}
    checksum = {"checksum": _checksum(metadata, tensors)}
    write_tensors(path, tensors, metadata | checksum, keep=keep)


def load_run(path: Path, *, kind: str, run: str) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """The tensors and the metadata.

    Raises:
        TrainingError: the file is damaged, of another format, or belongs to another run.
    """
    try:
        return _load(path, kind, run)
    except _DamagedError as err:
        raise TrainingError(f"{path} {err}; delete it to start anew") from err


def load_last(
    path: Path, *, kind: str, run: str, named: Callable[[Mapping[str, str]], str]
) -> Found:
    """The state at `path` or, where that is damaged or missing, the one before; says so in the log.

    Args:
        named: metadata -> what the message calls that state, such as `of step 50`.

    Raises:
        TrainingError: neither can be used, or the first that is whole belongs to another run.
    """
    older = before(path)
    try:
        return Found(*_load(path, kind, run), path)
    except _DamagedError as err:
        wrong = f"{path} {err}"
        if not older.exists():
            raise TrainingError(f"{wrong}; delete it to start anew") from err
    try:
        state = Found(*_load(older, kind, run), older)
    except _DamagedError as err:
        raise TrainingError(
            f"{wrong}, and the one before it, {older.name}, {err}; delete both to start anew"
        ) from err
    log.warning("%s, so the one before it, %s, is used", wrong, named(state.metadata))
    return state


def settle(path: Path, used: Path) -> None:
    """Let the file that was used take the place of a damaged newer one, which goes.

    Without it the next save would keep the damaged one and drop the good.

    Raises:
        DiskError: the disk refuses.
    """
    if used != path:
        with disk_errors(path):
            used.replace(path)


def _load(path: Path, kind: str, run: str) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    metadata, tensors = _read(path)
    whole = metadata.get("checksum") == _checksum(metadata, tensors)
    format_name = metadata.get("format")
    if format_name != kind:
        if whole:
            raise TrainingError(
                f"{path} has format {format_name!r}, not {kind!r}; delete it to start anew"
            )
        raise _DamagedError(f"has format {format_name!r}, not {kind!r}")
    if not whole:
        raise _DamagedError("is damaged (its checksum differs)")
    if metadata.get("run") != run:
        raise TrainingError(
            f"{path} belongs to a run with another model, mask, data or settings; continue with "
            "the settings of its recipe.toml, or delete the state to start anew"
        )
    return tensors, metadata


def _checksum(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of every byte that is used: the rest of the metadata, and all tensors."""
    rest = {key: value for key, value in metadata.items() if key != "checksum"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name].cpu().contiguous()
        digest.update(f"{name}{value.dtype}{list(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    if not path.exists():
        raise _DamagedError("is missing")
    require_regular(path, TrainingError)
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, tensors_in(file)
    except (OSError, SafetensorError) as err:
        raise _DamagedError(f"is not a training state ({err})") from err
