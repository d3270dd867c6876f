"""min over D of |D K - R|^2 + lambda |D|^2: the problem behind every closed form here."""

# o x d the weight, D its change; K the (d, n) vectors, of which the first N are edited; R the
# (o, N) residual of these, what is to be added to the weight's answers; all float64.

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from erasure.errors import ConfigError
from erasure.solving.rows import lower_factor, packed, solve_rows


@dataclass(frozen=True)
class Quadratic:
    """The vectors of one edit; each weight brings a residual of its own.

    With K = [K_e, K_p] and no mask, D = R [(K^T K + lambda I)^-1 K^T]_e, the rows of the N edited
    vectors alone: its rank is at most N, and the inner system has the size of the number of
    vectors, not of the text features. It is solved in the outer form K K^T + lambda I where that
    is the smaller one.

    Source: the normal equations of arXiv:2308.14761, eq. 6, by the push-through identity.
    """

    vectors: Tensor
    """K, (d, n), with the roots of the weights in it."""
    edited: int
    """N; the vectors behind them are kept."""
    ridge: float
    """lambda, >= 0."""
    names: Sequence[str] = ()
    """What messages call the n vectors."""

    @cached_property
    def down(self) -> Tensor:
        """What every residual is multiplied with: (N, d).

        Raises:
            ConfigError: the system is singular.
        """
        if self._is_inner:
            solved = torch.cholesky_solve(self.vectors.T, self._factor)  # (n, d)
            return solved[: self.edited]
        return torch.cholesky_solve(self.vectors[:, : self.edited], self._factor).T

    def change(self, residual: Tensor, free: Tensor | None = None) -> Tensor:
        """D, (o, d), zero where a weight is not free.

        Args:
            residual: R, (o, N), weighted as the vectors are.
            free: (o, d) bool; None for all. Row r with the free columns m solves the same problem
                for K[m]: the best among the D that are zero elsewhere.

        Raises:
            ConfigError: the system of a row is singular.
        """
        if free is None or bool(free.all()):
            return residual @ self.down
        whole, some = free.all(1), free.any(1)
        change = residual.new_zeros(free.shape)
        if whole.any():
            change[whole] = residual[whole] @ self.down
        rows = (some & ~whole).nonzero().flatten()
        inner = self._is_inner_by_row(free[rows].sum(1))
        if len(few := rows[inner]):  # the inner system is as large as there are vectors
            self._solve_inner(change, residual, free, few)
        if len(outer := rows[~inner]):
            wanted = residual[outer] @ self.vectors[:, : self.edited].T
            change[outer] = solve_rows(self._system, wanted, free[outer])
        return change

    def condition(self) -> float:
        """Condition number of the system that is solved where every weight is free."""
        return float(torch.linalg.cond(self._system_solved))

    def _solve_inner(self, change: Tensor, residual: Tensor, free: Tensor, rows: Tensor) -> None:
        """(K_m^T K_m + lambda I) y = r, then D[m] = K_m y, for many rows at a time."""
        count = self.vectors.shape[1]
        right = residual.new_zeros(len(residual), count)
        right[:, : self.edited] = residual
        ridge = self.ridge * torch.eye(count, dtype=torch.float64)
        for part in packed(rows, free, count):
            chosen = self.vectors[part.columns] * part.real[:, :, None]  # (R, k, n)
            systems = chosen.mT @ chosen + ridge  # (R, n, n)
            inner = torch.cholesky_solve(right[part.rows, :, None], self._checked(systems))
            part.put(change, (chosen @ inner).squeeze(-1))

    @property
    def _is_inner(self) -> bool:
        width, count = self.vectors.shape
        return count <= width

    def _is_inner_by_row(self, columns: Tensor) -> Tensor:
        """Which rows of so many free columns, (R,), cost less in the inner form; without a ridge,
        where the outer form of a row with more columns than vectors is singular, and the inner form
        of one with fewer: (R,) bool."""
        width, count = self.vectors.shape
        if self.ridge == 0:
            return columns >= count
        return torch.full_like(
            columns, 2 * count**2 * width + count**3 / 3 < width**3 / 3, dtype=torch.bool
        )

    @property
    def _system(self) -> Tensor:
        """K K^T + lambda I, (d, d)"""
        identity = torch.eye(len(self.vectors), dtype=torch.float64)
        return self.vectors @ self.vectors.T + self.ridge * identity

    @cached_property
    def _system_solved(self) -> Tensor:
        if not self._is_inner:
            return self._system
        identity = torch.eye(self.vectors.shape[1], dtype=torch.float64)
        return self.vectors.T @ self.vectors + self.ridge * identity

    @cached_property
    def _factor(self) -> Tensor:
        return self._checked(self._system_solved)

    def _checked(self, systems: Tensor) -> Tensor:
        """Cholesky factors of (..., n, n); where one fails, say which vectors are to blame."""
        lower, failed = lower_factor(systems)
        if failed.any():
            raise ConfigError(
                f"the closed form has no single solution without a ridge: {self._blame()}; give a "
                "ridge above 0, or leave one of them out"
            )
        return lower

    def _blame(self) -> str:
        """The first two vectors that coincide, or the first that the others add up to."""
        length = self.vectors.norm(dim=0).clamp(min=1e-300)
        unit = self.vectors / length
        _, count = self.vectors.shape
        for one in range(count):
            alike = (unit[:, one + 1 :] - unit[:, one, None]).norm(dim=0) < 1e-7
            if alike.any():
                other = one + 1 + int(alike.nonzero()[0])
                return f"{self._name(one)} and {self._name(other)} coincide"
        for one in range(1, count):
            rest = unit[:, :one] @ torch.linalg.lstsq(unit[:, :one], unit[:, one, None]).solution
            if float((rest.squeeze(-1) - unit[:, one]).norm()) < 1e-7:
                return f"{self._name(one)} is made of those before it"
        return "its vectors leave directions open under this mask"

    def _name(self, index: int) -> str:
        return self.names[index] if self.names else f"vector {index}"
