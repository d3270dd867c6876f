"""Save and restore a run, so that a resumed one ends with the same bytes as an unbroken one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from erasure.errors import TrainingError
from erasure.storage.state_file import Found, before, load_last, save_run
from erasure.training.trainer import MaskedTrainer, Step

FORMAT: Final = "erasure-training-state 1"


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where a run goes on."""

    history: list[Step]
    file: Path
    """Which state it was: that of the last save, or the one before. `settle` makes it the last."""


def save_state(path: Path, trainer: MaskedTrainer[Any], history: Sequence[Step], run: str) -> None:
    """Write values, optimiser state and history atomically; the state before is kept beside it.

    The new state is on the disk before the one before the last is dropped, so at any moment one
    good state is there. On disk: two states, and a third while it is written; one has 12 bytes a
    selected weight (SGD 8), 6 with 8-bit moments.

    Args:
        run: hash of everything that makes two runs the same run (base, mask, data, settings).
    """
    tensors = {f"value.{k}": v.detach() for k, v in trainer.selected.vectors.items()}
    tensors |= dict(_moments(trainer))
    rows = [[s.index, s.loss, s.forget, s.retain] for s in history]
    tensors["history"] = torch.tensor(rows, dtype=torch.float64).reshape(-1, 4)
    keep, done = before(path), str(trainer.done)
    save_run(path, tensors, kind=FORMAT, run=run, keep=keep, done=done)


def load_state(path: Path, trainer: MaskedTrainer[Any], run: str) -> Resumed:
    """Put a fresh trainer where the saved one was.

    A damaged or missing state gives way to the one before it, with a warning in the log.

    Raises:
        TrainingError: both are damaged, or the state belongs to a run with other settings or
            does not fit the trainer.
    """
    state = load_last(
        path, kind=FORMAT, run=run, named=lambda metadata: f"of step {metadata.get('done')}"
    )
    try:
        return Resumed(_restore(trainer, state), state.file)
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, OverflowError) as err:
        raise TrainingError(
            f"{state.file} does not fit the run ({err}); delete it to start anew"
        ) from err


def _restore(trainer: MaskedTrainer[Any], state: Found) -> list[Step]:
    """Put the trainer where the state was; its steps until then."""
    tensors, states = state.tensors, {}
    parts = [name.split(".", 2) for name in tensors if name.startswith("optimizer.")]
    for index, (name, vector) in enumerate(trainer.selected.vectors.items()):
        with torch.no_grad():
            vector.copy_(tensors[f"value.{name}"])
        own = [key for _, key, owner in parts if owner == name]
        if own:
            states[index] = {key: _plain(tensors[f"optimizer.{key}.{name}"]) for key in own}
    trainer.optimizer.load_state_dict(trainer.optimizer.state_dict() | {"state": states})
    trainer.selected.write_back()
    trainer.done = int(state.metadata["done"])
    if trainer.done < 0:
        raise ValueError(f"it is of step {trainer.done}")
    rows = tensors["history"].tolist()
    return [Step(int(i), loss, f, r) for i, loss, f, r in rows]


def _moments(trainer: MaskedTrainer[Any]) -> Iterator[tuple[str, Tensor]]:
    """The optimiser's state; a number as int64, and what several vectors share once for each."""
    seen: set[int] = set()
    for name, vector in trainer.selected.vectors.items():
        for key, value in trainer.optimizer.state.get(vector, {}).items():
            if value is None:
                continue
            tensor = value if isinstance(value, Tensor) else torch.tensor(value)
            place = tensor.untyped_storage().data_ptr()
            yield f"optimizer.{key}.{name}", tensor.clone() if place in seen else tensor
            seen.add(place)


def _plain(value: Tensor) -> Any:  # noqa: ANN401
    """A number that `_moments` made a tensor of, as a number again."""
    return int(value) if value.dtype == torch.int64 and not value.ndim else value
