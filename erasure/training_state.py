"""Save and restore a run, so that a resumed one ends with the same bytes as an unbroken one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from erasure.state_file import load_run, save_run
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
    save_run(path, tensors, kind=FORMAT, run=run, done=str(trainer.done))


def load_state(path: Path, trainer: MaskedTrainer, run: str) -> list[Step]:
    """Put a fresh trainer where the saved one was; returns the history.

    Raises:
        TrainingError: the file is damaged, or belongs to a run with other settings.
    """
    tensors, metadata = load_run(path, kind=FORMAT, run=run)
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
