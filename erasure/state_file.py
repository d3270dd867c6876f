"""What an interrupted run left: tensors that belong to one run, with a checksum."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from erasure.errors import TrainingError
from erasure.files import save_tensors


def save_run(
    path: Path, tensors: Mapping[str, Tensor], *, kind: str, run: str, **more: str
) -> None:
    """Write tensors atomically.

    Args:
        kind: name and version of the format.
        run: hash of everything that makes two runs the same run (base, mask, data, settings).
        more: further metadata.
    """
    metadata = {"format": kind, "run": run, **more}
    save_tensors(path, tensors, metadata | {"checksum": _checksum(metadata, tensors)})


def load_run(path: Path, *, kind: str, run: str) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """The tensors and the metadata.

    Raises:
        TrainingError: the file is damaged, of another format, or belongs to another run.
    """
    metadata, tensors = _read(path)
    if metadata.get("format") != kind:
        raise TrainingError(
            f"{path} has format {metadata.get('format')!r}, not {kind!r}; start anew with --force"
        )
    if metadata.get("checksum") != _checksum(metadata, tensors):
        raise TrainingError(f"{path} is damaged (its checksum differs); start anew with --force")
    if metadata.get("run") != run:
        raise TrainingError(
            f"{path} belongs to a run with another model, mask, data or settings; continue with "
            "the settings of its recipe.toml, or start anew with --force"
        )
    return tensors, metadata


def _checksum(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of every byte that is used: the rest of the metadata, and all tensors."""
    rest = {key: value for key, value in metadata.items() if key != "checksum"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name].cpu().contiguous()
        digest.update(f"{name}{value.dtype}{list(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {k: file.get_tensor(k) for k in list(file.keys())}
    except (OSError, SafetensorError) as err:
        raise TrainingError(
            f"{path} is not a training state ({err}); start anew with --force"
        ) from err
