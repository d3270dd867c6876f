"""D4: how much worse two models denoise each other's pictures than their own."""

# N pictures of one model, M of the other.

import torch
from torch import Tensor

from eval.distances.units import Units, units_of_errors
from eval.errors import EvalError


def symmetric_loss(
    first_on_first: Tensor,
    second_on_first: Tensor,
    first_on_second: Tensor,
    second_on_second: Tensor,
) -> tuple[float, float]:
    """Mean of both directions, and its standard error over pictures.

    The loss of one model on the pictures of the other, less the other's own: with losses weighted
    as in a variational bound it is the divergence of both, symmetrised.

    Args:
        first_on_first: (N,) loss of the first model on its own pictures.
        second_on_first: (N,) of the second model on these.
        first_on_second: (M,) of the first model on the pictures of the second.
        second_on_second: (M,)

    Raises:
        EvalError: fewer than two pictures, or a loss is not finite.

    Source: the idea of FADE, arXiv:2510.12981; its likelihood is a bound with other weights.
    """
    one = (second_on_first - first_on_first).double()
    other = (first_on_second - second_on_second).double()
    for part in (one, other):
        if len(part) < 2 or not bool(part.isfinite().all()):
            raise EvalError(
                f"{len(part)} losses do not say how far two models lie apart; give 2 or more "
                "finite ones"
            )
    variance = (one.var() / len(one) + other.var() / len(other)) / 4
    return float((one.mean() + other.mean()) / 2), float(torch.sqrt(variance))


def likelihood_units(model: tuple[float, float], pair: tuple[float, float]) -> Units:
    """A model against the retrained one, over two seeds; both of `symmetric_loss`."""
    return units_of_errors(*model, *pair)
