"""Quadratic edits of a weight matrix, exact also where only some of its weights may move."""

# o x d the weight, D its change, A the d x d system, G the o x d right-hand side; all float64.

from collections.abc import Iterator
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
    for rows in chunks((~whole & free.any(1)).nonzero().flatten(), len(system) ** 2):
        chosen = free[rows]  # (R, d)
        pairs = chosen[:, :, None] & chosen[:, None, :]
        identity = torch.diag_embed((~chosen).to(system))
        systems = torch.where(pairs, system, 0.0) + identity  # (R, d, d)
        right = torch.where(chosen, wanted[rows], 0.0)[:, :, None]
        change[rows] = torch.cholesky_solve(right, factor(systems)).squeeze(-1)
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
    """Lower Cholesky factors of (..., d, d), and where there is none: (...) bool."""
    lower, failed = torch.linalg.cholesky_ex(systems)
    return lower, failed > 0


def chunks(rows: Tensor, each: int) -> Iterator[Tensor]:
    """The rows in parts whose working arrays, of `each` numbers a row, fit 256 MiB together."""
    size = max(1, _CHUNK // each)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
