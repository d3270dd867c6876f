"""What the weights of one tensor become where a patch moves them, as ComfyUI asks for it."""

from collections.abc import Callable
from typing import Any

import torch
from comfy.weight_adapter import WeightAdapterBase
from torch import Tensor

Weights = tuple[Tensor, Tensor, Tensor]
"""Positions in the flat tensor, int32 (k,); the base's values there, (k,); the edited ones, (k,).

ComfyUI may take an adapter apart, move its tensors, and make `type(adapter)(loaded_keys, weights)`
of them: so all that it knows is in these."""


class ErasureAdapter(WeightAdapterBase):
    """A patch of one tensor, or of the rows of it that its key names."""

    name = "erasure"

    def __init__(self, loaded_keys: set[str], weights: Weights) -> None:
        self.loaded_keys = loaded_keys
        self.weights = weights

    def calculate_shape(self, key: str) -> None:
        """The shape stays as it is."""

    @torch.no_grad()
    def calculate_weight(
        self,
        weight: Tensor,
        key: str,
        strength: float,
        strength_model: float,
        offset: tuple[int, int, int] | None,
        function: Callable[[Tensor], Tensor],
        intermediate_dtype: torch.dtype = torch.float32,
        original_weight: Any = None,  # noqa: ANN401
    ) -> Tensor:
        """Add strength * (edited - base) to what is there, in place, as LoRA does it.

        So the changes of several patches, and of LoRAs, add up in any order. Where the base's own
        value is there and the strength is 1, the edited one takes its place without a rounding.

        Args:
            weight: a copy that ComfyUI made, of the tensor or of its rows at `offset`; in the type
                it computes in, which may be narrower than the weights'.
        """
        if strength == 0:
            return weight
        where, base, edited = self.weights
        flat = weight.reshape(-1)  # a copy where the rows do not lie together
        at = where.to(flat.device, torch.int64)
        now, start, end = flat[at], base.to(flat), edited.to(flat)
        moved = (now.float() + strength * (end.float() - start.float())).to(flat.dtype)
        flat[at] = torch.where(now == start, end, moved) if strength == 1 else moved
        if flat.data_ptr() != weight.data_ptr():
            weight.copy_(flat.view(weight.shape))
        return weight
