"""A change of a weight as a product of two thin matrices, as a LoRA file has it."""

# o x d the weight, r the rank.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

_SMALL: Final = 1e-12
"""Singular values below this share of the largest are rounding of float64."""


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """up @ down is what is added to the weight."""

    up: Tensor
    """(o, r) float64."""
    down: Tensor
    """(r, d) float64."""

    def change(self) -> Tensor:
        """(o, d)"""
        return self.up @ self.down


def joined(parts: Sequence[Factors]) -> Factors:
    """The sum of several changes of one weight, of rank min(o, d) at most."""
    return thinned(torch.cat([p.up for p in parts], 1), torch.cat([p.down for p in parts]))


def balanced(factors: Factors) -> Factors:
    """The same product with both sides of each direction equally long, which suits narrow types."""
    up, down = factors.up.norm(dim=0), factors.down.norm(dim=1)
    share = torch.where((up > 0) & (down > 0), (down / up).sqrt(), torch.ones_like(up))
    return Factors(factors.up * share, factors.down / share[:, None])


def thinned(up: Tensor, down: Tensor) -> Factors:
    """The same product (o, N) @ (N, d) by as few directions as it has; exact but for rounding."""
    (left, first), (right, second) = torch.linalg.qr(up), torch.linalg.qr(down.T)
    one, sizes, other = torch.linalg.svd(first @ second.T, full_matrices=False)
    rank = int((sizes > _SMALL * sizes[:1]).sum())
    return Factors(left @ (one[:, :rank] * sizes[:rank]), other[:rank] @ right.T)
