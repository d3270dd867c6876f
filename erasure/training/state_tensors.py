"""A training as the tensors of a state file: values, the optimiser's state and the history."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from erasure.errors import TrainingError
from erasure.training.step import Step, as_rows, of_rows


class Beside(Protocol):
    """What is remembered beside the vectors of a training, under names of its own."""

    def tensors(self) -> Mapping[str, Tensor]:
        """What to save."""
        ...

    def restore(self, tensors: Mapping[str, Tensor], /) -> None:
        """Take it out of all tensors of a state.

        Raises:
            KeyError, ValueError: they are not of such a run.
        """
        ...


def state_tensors(
    vectors: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    history: Sequence[Step],
    columns: Sequence[str],
    beside: Sequence[Beside] = (),
) -> dict[str, Tensor]:
    """All that a training needs to go on as if it had not been cut.

    Args:
        vectors: what the optimiser moves, in its order.
        columns: the fields of a step that this training fills.
        beside: what else it needs.

    Returns:
        `value.NAME`, `optimizer.KEY.NAME` for each entry of the optimiser's state, and `history`,
        (steps, columns); and what is beside.
    """
    tensors = {f"value.{name}": vector.detach() for name, vector in vectors.items()}
    tensors |= dict(_moments(vectors, optimizer))
    for other in beside:
        tensors |= other.tensors()
    return tensors | {"history": as_rows(history, columns)}


@torch.no_grad()
def restore(
    tensors: Mapping[str, Tensor],
    vectors: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    columns: Sequence[str],
    beside: Sequence[Beside] = (),
) -> list[Step]:
    """Put a fresh training where `state_tensors` was taken; returns its steps until then.

    Raises:
        KeyError, RuntimeError, ValueError: they are not of such a training; see `fitting`.
    """
    parts = [name.split(".", 2) for name in tensors if name.startswith("optimizer.")]
    states = {}
    for index, (name, vector) in enumerate(vectors.items()):
        vector.copy_(tensors[f"value.{name}"])
        own = [key for _, key, owner in parts if owner == name]
        if own:
            states[index] = {key: _plain(tensors[f"optimizer.{key}.{name}"]) for key in own}
    optimizer.load_state_dict(optimizer.state_dict() | {"state": states})
    for other in beside:
        other.restore(tensors)
    return of_rows(tensors["history"], columns)


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Say of a state that does not fit the run which file it is and what to do.

    Raises:
        TrainingError: what the block reads is of another training.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, OverflowError) as err:
        raise TrainingError(
            f"{path} does not fit the run ({err}); delete it to start anew"
        ) from err


def _moments(
    vectors: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> Iterator[tuple[str, Tensor]]:
    """The optimiser's state; a number as int64, and what several vectors share once for each."""
    for name, vector in vectors.items():
        for key, value in optimizer.state.get(vector, {}).items():
            if value is not None:
                tensor = value if isinstance(value, Tensor) else torch.tensor(value)
                yield f"optimizer.{key}.{name}", tensor


def _plain(value: Tensor) -> Any:  # noqa: ANN401
    """A number that `_moments` made a tensor of, as a number again."""
    return int(value) if value.dtype == torch.int64 and not value.ndim else value
