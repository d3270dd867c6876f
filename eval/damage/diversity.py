"""How different the pictures of one prompt are over seeds: mode collapse is an erasure's price."""

# P prompts of N pictures, D features.

from collections.abc import Sequence

import torch
from torch import Tensor

from eval.errors import EvalError
from eval.rates.intervals import Mean, paired_difference


def mean_pairwise_distance(features: Tensor) -> float:
    """Mean Euclidean distance of all pairs of pictures.

    Args:
        features: (N, D) of the pictures of one prompt, N of 2 or more.

    Raises:
        EvalError: there are fewer than two pictures, or a value is not finite.
    """
    if features.ndim != 2 or len(features) < 2:
        raise EvalError(
            f"features have the shape {tuple(features.shape)}; give (N, D) of two pictures or more"
        )
    rows = features.detach().double().cpu()
    if not torch.isfinite(rows).all():
        raise EvalError("a feature is not finite; leave out the pictures that cannot be used")
    return float(torch.pdist(rows).mean())


def diversity_change(before: Sequence[Tensor], after: Sequence[Tensor]) -> Mean:
    """Log2 of each prompt's diversity after over before; its mean and interval over the prompts.

    -1 says that pictures of one prompt differ half as much as the base's. Pairs within a prompt
    share pictures, so the prompts are what is drawn anew for the interval.

    Args:
        before: (N, D) features of the base's pictures, one a prompt.
        after: the same of the audited model's, of the same prompts and seeds.

    Raises:
        EvalError: the lengths differ, there is no prompt, or the base draws equal pictures.
    """
    old, new = ([mean_pairwise_distance(one) for one in side] for side in (before, after))
    if any(value <= 0 for value in old):
        raise EvalError(
            "the base draws equal pictures from different seeds; give prompts of several seeds"
        )
    # A model that draws one picture from all seeds has a distance of 0: 2^-20 stands for it.
    floor = 2.0**-20
    logs = [
        torch.tensor([max(value / base, floor) for value, base in zip(side, old, strict=True)])
        .double()
        .log2()
        .tolist()
        for side in (old, new)
        if len(side) == len(old)
    ]
    if len(logs) < 2:
        raise EvalError(
            f"{len(old)} prompts before and {len(new)} after do not pair; draw the same prompts"
        )
    return paired_difference(*logs)
