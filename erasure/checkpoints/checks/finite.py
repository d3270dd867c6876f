"""Values that no model can use: NaN, infinity, and what a narrower type would turn into it."""

import math
from collections.abc import Iterator, Mapping
from typing import Final

import torch
from torch import Tensor

from erasure.checkpoints.wording import few
from erasure.errors import CheckpointError, Way
from erasure.storage.tensors.casting import dtype_after

_WIDER: Final = Way(
    "--dtype bf16 or fp32, or none to keep each weight's own",
    "dtype=torch.bfloat16 or torch.float32, or None to keep each weight's own",
)


def not_finite(components: Mapping[str, Mapping[str, Tensor]]) -> str:
    """Which weights are not finite; empty where all are.

    Args:
        components: component -> name -> weight, of any types.

    Returns:
        The first three by component and name, and how many more there are.
    """
    faults = list(_found(components, None))
    return few(faults) if faults else ""


def require_storable(
    components: Mapping[str, Mapping[str, Tensor]], where: str, dtype: torch.dtype | None
) -> None:
    """Raise CheckpointError, before anything is written, where weights are not finite, or would not
    be in `dtype`; None keeps each one's own."""
    faults = list(_found(components, dtype))
    if not faults:
        return
    own = list(_found(components, None))
    what = f"{where} cannot be written: {few(faults)}"
    if own:
        raise CheckpointError(f"{what}; give a model whose weights are whole, or fetch it again")
    raise CheckpointError(f"{what}; store it in a wider type: ", _WIDER)


def is_finite(weight: Tensor) -> bool:
    """Whether all values are finite; the least and the largest tell, as NaN goes into both."""
    if not weight.is_floating_point() or not weight.numel():
        return True
    if weight.element_size() == 1:  # torch finds no extremes of 8-bit floats
        weight = weight.float()
    least, largest = torch.aminmax(weight)
    return math.isfinite(least.item()) and math.isfinite(largest.item())


def _found(
    components: Mapping[str, Mapping[str, Tensor]], dtype: torch.dtype | None
) -> Iterator[str]:
    for component, weights in components.items():
        for name, weight in weights.items():
            if fault := _fault_of(weight, dtype):
                yield f"{name} of {component} {fault}"


def _fault_of(weight: Tensor, dtype: torch.dtype | None) -> str:
    if not (weight.is_floating_point() or weight.is_complex()) or not weight.numel():
        return ""
    kind = dtype_after(weight, dtype)
    # A type of eight bits has no operations of its own.
    values = weight.float() if weight.element_size() == 1 else weight
    if weight.is_complex() or not is_finite(weight):
        bad = int((~torch.isfinite(values)).count_nonzero())
        if bad:
            return f"has {bad:,} of {weight.numel():,} values that are NaN or infinite"
    if kind == weight.dtype:
        return ""
    stored = values.to(kind)
    lost = ~torch.isfinite(stored.float() if stored.element_size() == 1 else stored)
    if lost.any():
        largest = values[lost].abs().max().item()
        name = str(kind).removeprefix("torch.")
        return f"reaches {largest:g}, which {name} turns into infinity"
    return ""
