"""One Newton step that takes points out of a linear head, and how much of them it can leave.

Source: arXiv:1911.03030, equation 3 (the step). The bound of the gradient that it leaves is the
    remainder of Taylor's series, never more than that of corollary 1.
"""

# N rows that stay, m that leave, D features; K outputs.

import torch
from torch import Tensor

from erasure.classifiers.exact.linear_objective import CURVATURE_CHANGE, LinearObjective


def removal_step(
    w: Tensor, remaining: LinearObjective, leaving: LinearObjective, gram: Tensor
) -> Tensor:
    """H^-1 Delta with Delta = m l2 w + the gradient of the points that leave; (K, D).

    Args:
        w: the minimum on all points, (K, D).
        gram: x^T x over the remaining rows, (D, D).
    """
    delta = leaving.data_gradient(w) + len(leaving.x) * remaining.l2 * w
    if remaining.loss == "squared":
        exact: Tensor = torch.linalg.solve(remaining.ridge(gram), delta.T).T
        return exact
    steps = [torch.linalg.solve(remaining.hessian(w, k), delta[k]) for k in range(len(w))]
    return torch.stack(steps)


def gradient_left(step: Tensor, remaining: LinearObjective, gram: Tensor) -> float:
    """Bound on the norm of the gradient that a step leaves, over all outputs together.

    After the step from z to z + u, u = X s, row i is left with loss'(z + u) - loss'(z) -
    loss''(z) u, at most gamma / 2 u_i^2. So |X^T ...| <= gamma / 2 |X| |u * u|.

    Args:
        step: (K, D).
        gram: x^T x over the remaining rows, (D, D).
    """
    spectral = torch.linalg.eigvalsh(gram)[-1].clamp(min=0).sqrt()
    moved = remaining.x @ step.T  # (N, K)
    each = spectral * moved.square().norm(dim=0)
    return 0.5 * CURVATURE_CHANGE[remaining.loss] * float(each.norm())
