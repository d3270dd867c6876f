"""D8: how far the weights were moved. A description: weights of two trainings have no alignment."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from eval.errors import EvalError


@dataclass(frozen=True, slots=True)
class Move:
    """From one model's weights to another's."""

    relative: float
    """Norm of the difference over the norm of the first."""
    moved: float
    """Share of the weights that differ at all, in [0, 1]."""


@torch.no_grad()
def move(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Move:
    """Compare all weights, summed in float64; one tensor at a time.

    Raises:
        EvalError: names or shapes differ, or there is no weight.
    """
    if before.keys() != after.keys() or not before:
        raise EvalError("the weights have other names; give two models of one architecture")
    squares = base = 0.0
    count = changed = 0
    for name, old in before.items():
        new = after[name]
        if new.shape != old.shape:
            raise EvalError(f"{name} has the shapes {tuple(old.shape)} and {tuple(new.shape)}")
        gap = new.double() - old.double()
        squares += float(gap.square().sum())
        base += float(old.double().square().sum())
        changed += int((gap != 0).sum())
        count += old.numel()
    return Move(math.sqrt(squares / base) if base else math.inf, changed / count)
