"""D3: the denoising loss on pictures of the concept, in units of the spread of retrained seeds."""

# N pictures.

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from eval.distances.units import Units, bootstrapped
from eval.errors import EvalError

State = Literal["remembers", "like retrained", "averse", "undecided"]


@dataclass(frozen=True, slots=True)
class LossGap:
    """By how much a model's loss lies above that of retrained ones."""

    units: Units
    """Signed: below 0 it denoises the concept better than a model that never saw it."""
    state: State


def loss_gap(losses: Tensor, references: Tensor, pair: Tensor, *, seed: int) -> LossGap:
    """Mean loss less the mean of the references', over the spread of one picture between seeds.

    The spread of two seeds is sqrt(mean((a - b)^2) / 2) over pictures a, b: the deviation of which
    a picture's loss at two seeds are two draws. A model remembers where the whole interval lies
    below -1, is averse where it lies above 1, and is like a retrained one where it lies between.

    Args:
        losses: (N,) of the model.
        references: (K, N) of K models that never saw the concept.
        pair: (2, N) of two seeds.

    Raises:
        EvalError: the shapes do not fit, or a loss is not finite.
    """
    columns = torch.cat([losses[None], references, pair]).double().T  # (N, 1 + K + 2)
    if columns.shape[1] < 4 or not len(columns) or not bool(columns.isfinite().all()):
        raise EvalError(
            f"losses of {columns.shape[1]} models on {len(columns)} pictures do not compare; give "
            "finite ones of the model, of a reference and of two seeds"
        )

    def measure(rows: Tensor) -> tuple[Tensor, Tensor]:
        shift = (rows[..., 0] - rows[..., 1:-2].mean(-1)).mean(-1)
        spread = ((rows[..., -2] - rows[..., -1]).square().mean(-1) / 2).sqrt()
        return shift, spread

    units = bootstrapped(measure, columns, seed=seed)
    return LossGap(units, _state(units))


def _state(units: Units) -> State:
    if units.high < -1:
        return "remembers"
    if units.low > 1:
        return "averse"
    return "like retrained" if units.low >= -1 and units.high <= 1 else "undecided"
