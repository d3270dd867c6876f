"""Number types: sums over a data set or over weights run in float32 or wider."""

import torch
from torch import Tensor


def wide(value: Tensor) -> Tensor:
    """The same values in float32, or as they are where they are wider."""
    return value.to(torch.promote_types(value.dtype, torch.float32))
