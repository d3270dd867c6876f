"""D7: whether a model knows the very pictures it was trained on, beyond the concept as such."""

# N trained and M held-out pictures.

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from eval.distances.units import RESAMPLES, widened
from eval.errors import EvalError


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Area under the ROC curve, with its interval."""

    auc: float
    """0.5 where trained and held-out pictures cannot be told apart."""
    low: float
    high: float
    chance: float
    """Standard error of the area where nothing tells the two kinds apart; above 0."""

    def units(self, unit: float) -> float:
        """|AUC - 1/2| over a unit, which is that of another seed or chance."""
        return abs(self.auc - 0.5) / unit


def area_under_curve(trained: Tensor, held_out: Tensor) -> Tensor:
    """Share of pairs in which the trained picture scores higher; half of a tie counts.

    Args:
        trained: (..., N) scores.
        held_out: (..., M).

    Returns:
        (...,) in [0, 1], by ranks: no N x M table is made.
    """
    both = torch.cat([trained, held_out], dim=-1).double()
    order = both.sort(dim=-1)
    low = torch.searchsorted(order.values, both.contiguous(), side="left")
    high = torch.searchsorted(order.values, both.contiguous(), side="right")
    ranks = (low + high + 1).double() / 2  # of equal scores the mean rank, from 1
    n, m = trained.shape[-1], held_out.shape[-1]
    wins: Tensor = ranks[..., :n].sum(-1) - n * (n + 1) / 2
    return wins / (n * m)


def membership(trained: Tensor, held_out: Tensor, *, seed: int) -> Membership:
    """Attack by the likelihood ratio: a reference's loss less the model's, on each picture.

    Args:
        trained: (N,) scores of pictures that the original model was trained on.
        held_out: (M,) of other drawings of the same concept.

    Raises:
        EvalError: fewer than two pictures of a kind, or a score is not finite.

    Source: the variance by chance is that of H. B. Mann and D. R. Whitney, Ann. Math. Stat. 18
        (1947) 50.
    """
    for group in (trained, held_out):
        if group.ndim != 1 or len(group) < 2 or not bool(group.isfinite().all()):
            raise EvalError(
                f"{tuple(group.shape)} scores do not say who was trained on; give 2 or more finite "
                "ones of each kind"
            )
    draw = torch.Generator().manual_seed(seed)
    again = area_under_curve(
        *(
            group[torch.randint(len(group), (RESAMPLES, len(group)), generator=draw)]
            for group in (trained, held_out)
        )
    )
    n, m = len(trained), len(held_out)
    auc = float(area_under_curve(trained, held_out))
    low, high = widened(again, auc, min(n, m))
    return Membership(
        auc=auc,
        low=max(0.0, low),
        high=min(1.0, high),
        chance=math.sqrt((n + m + 1) / (12 * n * m)),
    )
