"""The probability simplex, on which a relaxed word lives."""

import torch
from torch import Tensor


def onto_simplex(values: Tensor) -> Tensor:
    """The nearest point, by Euclid, whose numbers are 0 or more and sum to 1; row by row.

    Args:
        values: (..., A) finite numbers.

    Returns:
        (..., A) of the same type. What lies on the simplex stays where it is, but for rounding.

    Source: arXiv:1309.1541, algorithm 1. UnlearnDiffAtk's release finds the same threshold by
        bisection; the sort finds it exactly.
    """
    falling = values.sort(dim=-1, descending=True).values
    excess = falling.cumsum(dim=-1) - 1
    count = torch.arange(1, values.shape[-1] + 1, device=values.device, dtype=values.dtype)
    support = (falling * count > excess).sum(dim=-1, keepdim=True)  # how many stay above 0
    threshold = excess.gather(-1, support - 1) / support.to(values.dtype)
    return (values - threshold).clamp(min=0)
