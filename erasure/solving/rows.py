"""Quadratic edits of a weight matrix, exact also where only some of its weights may move."""

# o x d the weight, D its change, A the d x d system, G the o x d right-hand side; all float64.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from erasure.errors import ConfigError

_CHUNK: Final = 2**25
"""Numbers in one batch of systems: 256 MiB."""


def solve_rows(system: Tensor, wanted: Tensor, free: Tensor | None = None) -> Tensor:
    """The D with D A = G in the free weights and zero in the others, row by row.

    The rows of a weight do not depend on each other: row r with the free columns m solves
    A[m, m] D[r, m] = G[r, m]. That is the minimiser of tr(D A D^T) / 2 - tr(D G^T) among the D that
    are zero elsewhere, where solving for all weights and masking afterwards is not.

    Args:
        system: A, (d, d) float64, symmetric and positive definite.
        wanted: G, (o, d) float64.
        free: (o, d) bool, the weights that may move; None for all.

    Returns:
        (o, d) float64. Rows that are free in full share one factorisation; the others cost one of
        their own, d^3 / 3 multiplications each.

    Raises:
        ConfigError: A is singular.
    """
    change = torch.zeros_like(wanted)
    whole = torch.ones(len(wanted), dtype=torch.bool) if free is None else free.all(1)
    if whole.any():
        change[whole] = torch.cholesky_solve(wanted[whole].T, factor(system)).T
    if free is None:
        return change
    for part in packed((~whole & free.any(1)).nonzero().flatten(), free, len(system)):
        pairs = part.real[:, :, None] & part.real[:, None, :]
        identity = torch.diag_embed((~part.real).to(system))
        inner = system[part.columns[:, :, None], part.columns[:, None, :]]  # (R, k, k)
        right = torch.where(part.real, wanted[part.rows].gather(1, part.columns), 0.0)
        factors = factor(torch.where(pairs, inner, 0.0) + identity)
        solved = torch.cholesky_solve(right[:, :, None], factors).squeeze(-1)
        part.put(change, solved)
    return change


def factor(systems: Tensor) -> Tensor:
    """Lower Cholesky factors of (..., d, d); ConfigError where one is singular."""
    lower, failed = lower_factor(systems)
    if failed.any():
        raise ConfigError(
            "the closed form has no single solution, as its vectors leave directions open; give a "
            "ridge above 0"
        )
    return lower


def lower_factor(systems: Tensor) -> tuple[Tensor, Tensor]:
    """Lower Cholesky factors of (..., d, d), and where there is none: (...) bool.

    A pivot that is mere rounding beside the largest entry counts as none.
    """
    lower, failed = torch.linalg.cholesky_ex(systems)
    pivots = torch.diagonal(lower, dim1=-2, dim2=-1).square()
    scale = torch.diagonal(systems, dim1=-2, dim2=-1).amax(-1, keepdim=True)
    return lower, (failed > 0) | (pivots <= 1e-14 * scale).any(-1)


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows that have about as many free columns, and which these are."""

    rows: Tensor
    """(R,) int64"""
    columns: Tensor
    """(R, k) int64, each row's free columns first."""
    real: Tensor
    """(R, k) bool, False for the columns that only fill a row up."""

    def put(self, change: Tensor, solved: Tensor) -> None:
        """Write (R, k) values to their places in `change`, (o, d)."""
        mine = torch.zeros(len(self.rows), change.shape[1], dtype=change.dtype)
        change[self.rows] = mine.scatter(1, self.columns, torch.where(self.real, solved, 0.0))


def packed(rows: Tensor, free: Tensor, width: int) -> Iterator[Packed]:
    """The rows in parts of equal work, those with the fewest free columns first.

    Args:
        rows: (N,) int64 rows of `free` with a column or more.
        free: (o, d) bool.
        width: numbers that a free column of a row needs, a part's arrays fitting 256 MiB.
    """
    counts = free[rows].sum(1)
    counts, order = counts.sort(stable=True)
    start = 0
    while start < len(rows):
        most = int(counts[start])  # the part ends where rows with many more begin
        size = max(1, _CHUNK // (width * most))
        end = start + int((counts[start : start + size] <= most * 1.05 + 1).sum())
        chosen, most = rows[order[start:end]], int(counts[end - 1])
        columns = free[chosen].to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        columns = columns[:, :most]
        real = torch.arange(most) < counts[start:end, None]
        yield Packed(chosen, columns, real)
        start = end
