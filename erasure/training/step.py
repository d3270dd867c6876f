"""One step of a training, or of a method that has none: the record that every method yields."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did.

    Examples:
        >>> steps: list[Step] = []
        >>> edit = erase(checkpoint, data, mask, SalUn(steps=2), on_step=steps.append)
        >>> [step.index for step in steps]
        [1, 2]
    """

    index: int
    """From 1."""
    loss: float
    """What was minimised, on this step's batch."""
    forget: float | None = None
    """The part of the loss that makes it forget; None where the loss has no such parts."""
    retain: float | None = None
    """The other part, weighted by alpha; `loss` is the sum of both."""
    epoch: int = 0
    """From 1; 0 in a method that has no epochs."""


def as_rows(history: Sequence[Step], columns: Sequence[str]) -> Tensor:
    """These fields of every step, (steps, columns), float64, for a state file."""
    rows = [[getattr(step, name) for name in columns] for step in history]
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(columns))


def of_rows(rows: Tensor, columns: Sequence[str]) -> list[Step]:
    """The inverse of `as_rows`.

    Raises:
        ValueError: there are more or fewer columns, or an index is no number.
    """
    if rows.ndim != 2 or rows.shape[1] != len(columns):
        raise ValueError(f"its history has shape {tuple(rows.shape)}, not (steps, {len(columns)})")
    return [_of_row(dict(zip(columns, row, strict=True))) for row in rows.tolist()]


def _of_row(values: dict[str, Any]) -> Step:
    whole = {name: int(values[name]) for name in ("index", "epoch") if name in values}
    return Step(**values | whole)
