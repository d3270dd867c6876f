"""The directions of the text features in which what is kept does not lie."""

# d text features, M vectors, q directions.

from dataclasses import dataclass

import torch
from torch import Tensor

from erasure.seeds import generator_for


@dataclass(frozen=True, slots=True)
class Split:
    """An orthonormal basis of all features, in two parts."""

    free: Tensor
    """(d, q) in which what is kept has less than the threshold."""
    held: Tensor
    """(d, d - q)"""


def split(others: Tensor, threshold: float) -> Split:
    """Part the features by the second moments of what is kept.

    Args:
        others: (d, M) float64, what is kept; M may be 0.
        threshold: of the eigenvalues of their mean outer product, in its own units.
    """
    moments = others @ others.T / max(1, others.shape[1])
    sizes, basis = torch.linalg.eigh(moments)  # smallest first
    below = sizes < threshold
    return Split(basis[:, below], basis[:, ~below])


def above_average(vectors: Tensor, change: Tensor) -> Tensor:
    """The vectors (d, M) whose answers a change (o, d) moves more than the mean of them does."""
    moved = (change @ vectors).norm(dim=0)
    return vectors[:, moved > moved.mean()] if moved.numel() else vectors


def perturbed(vectors: Tensor, weight: Tensor, copies: int, seed: int) -> Tensor:
    """Copies of vectors (d, M) that the weight (o, d) hardly tells apart from them: (d, copies M).

    Each is moved along the direction that the weight shrinks most, by a standard normal length.
    """
    moments = weight.T @ weight
    least: Tensor = torch.linalg.eigh(moments).eigenvectors[:, :1]  # (d, 1)
    count = copies * vectors.shape[1]
    lengths = torch.randn(count, generator=generator_for(seed, "copies"), dtype=torch.float64)
    return vectors.repeat(1, copies) + least * lengths


def centres(points: Tensor, count: int, seed: int, rounds: int = 50) -> Tensor:
    """The means of `count` groups of points, (n, d) -> (count or fewer, d), by Lloyd's algorithm.

    The first centres are points drawn without repeats; equal points are taken once.
    """
    points = points.unique(dim=0)
    count = min(count, len(points))
    order = torch.randperm(len(points), generator=generator_for(seed, "centres"))
    means = points[order[:count]]
    for _ in range(rounds):
        nearest = torch.cdist(points, means).argmin(1)
        groups = [points[nearest == one] for one in range(count)]
        after = torch.stack(
            [group.mean(0) if len(group) else means[n] for n, group in enumerate(groups)]
        )
        if torch.equal(after, means):
            break
        means = after
    return means
