"""Save and restore a run, so that a resumed one ends with the same bytes as an unbroken one."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from erasure.errors import TrainingError
from erasure.files import save_tensors
from erasure.trainer import MaskedTrainer, Step

FORMAT: Final = "erasure-training-state 1"


def save_state(path: Path, trainer: MaskedTrainer, history: Sequence[Step], run: str) -> None:
    """Write values, optimiser state and history atomically.

    Args:
        run: hash of everything that makes two runs the same run (base, mask, data, settings).
    """
    tensors = {f"value.{k}": v.detach() for k, v in trainer.selected.vectors.items()}
    names = list(trainer.selected.vectors)
    for index, values in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{k}.{names[index]}": v for k, v in values.items() if v is not None}
    rows = [[s.index, s.loss, s.forget, s.retain] for s in history]
    tensors["history"] = torch.tensor(rows, dtype=torch.float64).reshape(-1, 4)
    metadata = {"format": FORMAT, "run": run, "done": str(trainer.done)}
    save_tensors(path, tensors, metadata | {"checksum": _checksum(metadata, tensors)})


def load_state(path: Path, trainer: MaskedTrainer, run: str) -> list[Step]:
    """Put a fresh trainer where the saved one was; returns the history.

    Raises:
        TrainingError: the file is damaged, or belongs to a run with other settings.
    """
    metadata, tensors = _read(path)
    if metadata.get("format") != FORMAT:
        raise TrainingError(
            f"{path} has format {metadata.get('format')!r}, not {FORMAT!r}; start anew with --force"
        )
    if metadata.get("checksum") != _checksum(metadata, tensors):
        raise TrainingError(f"{path} is damaged (its checksum differs); start anew with --force")
    if metadata.get("run") != run:
        raise TrainingError(
            f"{path} belongs to a run with another model, mask, data or settings; continue with "
            "the settings of its recipe.toml, or start anew with --force"
        )
    states: dict[int, dict[str, Tensor]] = {}
    for index, (name, vector) in enumerate(trainer.selected.vectors.items()):
        with torch.no_grad():
            vector.copy_(tensors[f"value.{name}"])
        keys = [k.split(".", 2) for k in tensors if k.startswith("optimizer.")]
        states[index] = {
            key: tensors[f"optimizer.{key}.{owner}"] for _, key, owner in keys if owner == name
        }
    state = {index: values for index, values in states.items() if values}
    trainer.optimizer.load_state_dict(trainer.optimizer.state_dict() | {"state": state})
    trainer.selected.write_back()
    trainer.done = int(metadata["done"])
    return [Step(int(i), loss, f, r) for i, loss, f, r in tensors["history"].tolist()]


def _checksum(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of every byte that `load_state` uses: the rest of the metadata, and all tensors."""
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
