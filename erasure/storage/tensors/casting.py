"""Number types on the way to disk: floating point weights may change theirs, integers never."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


def dtype_after(tensor: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    """The type `tensor` is stored in when `dtype` is asked for; None keeps its own."""
    return dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype


def cast(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """`tensor` in the type it is stored in."""
    return tensor.to(dtype_after(tensor, dtype))


@dataclass(frozen=True, slots=True)
class Cast(Mapping[str, Tensor]):
    """The same weights in another type, converted one by one when asked for."""

    weights: Mapping[str, Tensor]
    dtype: torch.dtype | None

    def __getitem__(self, name: str) -> Tensor:
        return cast(self.weights[name], self.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)
