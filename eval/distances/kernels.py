"""D5: the unbiased kernel distance of pictures drawn from equal prompts and seeds."""

# N pictures, D features.

import math

from torch import Tensor

from eval.damage.kernel_units import squared_kernel_distance
from eval.distances.units import Units, units_of_errors
from eval.metrics.kernel_variance import kernel_variance


def kernel_distance_units(model: Tensor, retrained: Tensor, pair: tuple[Tensor, Tensor]) -> Units:
    """Squared distance to the retrained model's pictures, over that of two seeds' pictures.

    Both are unbiased and may lie below 0; a unit below its standard error is replaced by that.

    Args:
        model: (N, D).
        retrained: (N, D) of the same prompts and seeds.
        pair: (N, D) each, of the two seeds.

    Raises:
        EvalError: as `squared_kernel_distance`.
    """
    return units_of_errors(
        squared_kernel_distance(model, retrained),
        math.sqrt(kernel_variance(model, retrained)),
        squared_kernel_distance(*pair),
        math.sqrt(kernel_variance(*pair)),
    )
