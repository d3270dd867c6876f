"""The strongly convex objective of a linear head, its derivatives and its minimum."""

# N rows of D features, each no longer than 1; K outputs.

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from erasure.errors import TrainingError

LossName = Literal["logistic", "squared"]
CURVATURE_CHANGE: Final[dict[str, float]] = {"logistic": 1 / (6 * math.sqrt(3)), "squared": 0.0}
"""gamma: largest magnitude of the third derivative (arXiv:1911.03030 takes 1/4 for logistic)."""
_STEPS: Final = 100


@dataclass(frozen=True, slots=True, eq=False)
class LinearObjective:
    """L_b(w) = sum over rows and outputs of loss(w_k . x_i, y_ik) + l2 N / 2 |w|^2 + b . w.

    Source: arXiv:1911.03030, equation 1 and section 3.3 (loss perturbation).
    """

    x: Tensor
    """(N, D), float64."""
    y: Tensor
    """(N, K), 1 or -1."""
    b: Tensor
    """(K, D)"""
    l2: float
    loss: LossName

    def restricted(self, rows: Tensor) -> "LinearObjective":
        """That of these rows, an index or a mask, with the same b."""
        return replace(self, x=self.x[rows], y=self.y[rows])

    def value(self, w: Tensor) -> Tensor:
        """(K,), one output each."""
        z = self.x @ w.T  # (N, K)
        if self.loss == "logistic":
            data = softplus(-self.y * z).sum(0)
        else:
            data = 0.5 * (z - self.y).square().sum(0)
        return data + 0.5 * self.l2 * len(self.x) * w.square().sum(1) + (self.b * w).sum(1)

    def data_gradient(self, w: Tensor) -> Tensor:
        """Sum over rows of the loss's gradient, without l2 and b; (K, D)."""
        z = self.x @ w.T
        if self.loss == "logistic":
            return (-self.y * torch.sigmoid(-self.y * z)).T @ self.x
        return (z - self.y).T @ self.x

    def gradient(self, w: Tensor) -> Tensor:
        """(K, D)"""
        return self.data_gradient(w) + self.l2 * len(self.x) * w + self.b

    def hessian(self, w: Tensor, output: int) -> Tensor:
        """The second derivatives of one output's loss, (D, D); outputs do not interact."""
        rows = self.x
        if self.loss == "logistic":
            p = torch.sigmoid(self.x @ w[output])
            rows = self.x * (p * (1 - p))[:, None]
        return self.ridge(rows.T @ self.x)

    def ridge(self, gram: Tensor) -> Tensor:
        """`gram` with l2 N added to its diagonal."""
        eye = torch.eye(len(gram), dtype=gram.dtype)
        return gram + self.l2 * len(self.x) * eye

    def minimise(self) -> tuple[Tensor, int]:
        """The minimum, (K, D), by Newton's method, and how often it looked at all rows.

        Raises:
            TrainingError: no minimum was found; l2 is too small for these features.
        """
        w = torch.zeros_like(self.b)
        enough = 1e-11 * len(self.x)
        for step in range(_STEPS):
            gradient = self.gradient(w)
            if float(gradient.norm()) <= enough:
                return w, max(1, step)
            moves = torch.stack(
                [torch.linalg.solve(self.hessian(w, k), gradient[k]) for k in range(len(self.b))]
            )
            shares = self._shares(w, moves, gradient)
            if not bool(shares.any()):  # As near as the numbers allow.
                return w, max(1, step)
            w = w - shares[:, None] * moves
        raise TrainingError(
            f"no minimum after {_STEPS} Newton steps (gradient {float(gradient.norm()):.1e}); give "
            "a larger l2"
        )

    def _shares(self, w: Tensor, moves: Tensor, gradient: Tensor) -> Tensor:
        """How much of each output's step to take: 1, 1/2, 1/4, ... or none; (K,).

        Enough is what lowers the value by its share, or, near the minimum, where rounding hides
        that, halves the gradient.
        """
        shares, before = torch.ones(len(w), dtype=w.dtype), self.value(w)
        slope = (gradient * moves).sum(1)
        for _ in range(40):
            tried = w - shares[:, None] * moves
            high = self.value(tried) > before - 1e-4 * shares * slope
            high &= self.gradient(tried).norm(dim=1) > 0.5 * gradient.norm(dim=1)
            if not bool(high.any()):
                return shares
            shares = torch.where(high, shares / 2, shares)
        return torch.where(high, torch.zeros_like(shares), shares)
