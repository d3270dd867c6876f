"""Whether a picture lies as near to real pictures of a concept as those lie to each other.

A picture that was built to deceive a small judge mostly does not: it keeps blots from counting.
"""

# N pictures to look at, R real ones, D features.

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from eval.errors import EvalError

QUANTILE: Final = 0.95
"""Share of the real pictures that pass when they are held against the others."""
FEWEST: Final = 8
"""Real pictures without which the threshold says little."""


@dataclass(frozen=True, slots=True)
class QualityGate:
    """Real pictures, and how far from the nearest of them a picture may lie."""

    real: Tensor
    """(R, D), float64."""
    threshold: float
    """Euclidean distance of features."""

    def distances(self, features: Tensor) -> Tensor:
        """Distance of each picture to the nearest real one, (N,) float64.

        Raises:
            EvalError: the features are of another size, or not finite.
        """
        rows = _rows(features)
        if rows.shape[1] != self.real.shape[1]:
            raise EvalError(
                f"pictures have {rows.shape[1]} features and the real ones {self.real.shape[1]}; "
                "take both from one extractor"
            )
        return torch.cdist(rows, self.real).min(1).values

    def passes(self, features: Tensor) -> list[bool]:
        """Whether each picture lies near enough, one answer a picture.

        Raises:
            EvalError: as `distances`.
        """
        return (self.distances(features) <= self.threshold).tolist()


def fit_quality_gate(real: Tensor, *, quantile: float = QUANTILE) -> QualityGate:
    """Set the threshold so that this share of the real pictures lies within it of another one.

    Args:
        real: (R, D) features of real pictures of the concept, or of the base's pictures of it that
            the judge sees it in; R of 8 or more.
        quantile: in (0, 1].

    Raises:
        EvalError: too few pictures, a value that is not finite, or a quantile outside (0, 1].
    """
    if not 0 < quantile <= 1:
        raise EvalError(f"quantile is {quantile}; give a share above 0 and up to 1, usually 0.95")
    rows = _rows(real)
    if len(rows) < FEWEST:
        raise EvalError(
            f"{len(rows)} real pictures of the concept are too few for a gate; give {FEWEST} or "
            "more"
        )
    between = torch.cdist(rows, rows)
    between.fill_diagonal_(torch.inf)
    nearest = between.min(1).values.sort().values
    # A rank, so that exactly this share passes: interpolating would let none of two equal ones.
    rank = max(1, int(quantile * len(nearest)))
    return QualityGate(rows, float(nearest[rank - 1]))


def _rows(features: Tensor) -> Tensor:
    if features.ndim != 2 or not len(features):
        raise EvalError(f"features have the shape {tuple(features.shape)}; give (N, D), N of 1 up")
    rows = features.detach().double().cpu()
    if not torch.isfinite(rows).all():
        raise EvalError("a feature is not finite; leave out the pictures that cannot be used")
    return rows
