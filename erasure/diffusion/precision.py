"""Number types: how the passes compute, and sums in float32 or wider."""

# B samples, C x H x W latents.

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from erasure.diffusion.denoiser import TOKENS, Condition, Denoiser
from erasure.wide_products import products_on

Precision = Literal["fp32", "bf16", "bf16-weights"]
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)
FEW: Final = 256
"""Up to so many places of a latent, attention in bf16 on a CPU is made of plain products."""


def wide(value: Tensor) -> Tensor:
    """The same values in float32, or as they are where they are wider."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def rounded(weights: Mapping[str, Tensor], precision: Precision) -> dict[str, Tensor]:
    """Name -> the values that a network of this precision holds, float32."""
    dtype = torch.bfloat16 if precision == "bf16-weights" else torch.float32
    return {name: weight.to(dtype).float() for name, weight in weights.items()}


def autocast_of(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """What the passes of the model run in: products in bf16 where the weights are float32."""
    if precision != "bf16":
        return nullcontext()
    # No cache of cast weights: before torch 2.10 one filled by the target's pass, which runs
    # without gradient, took the gradient from the pass in training.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def attention_of(
    precision: Precision, shape: Sequence[int], device: torch.device
) -> AbstractContextManager[object]:
    """The attention of passes with a graph and of their backward passes; of latents (C, H, W).

    The backward pass of torch's fused attention takes most of a step in bf16 on a CPU. Plain
    products keep the scores of all pairs of places, so they are for few places alone.
    """
    few = math.prod(shape[1:]) <= FEW
    if precision == "fp32" or device.type != "cpu" or not few:
        return nullcontext()
    return sdpa_kernel(SDPBackend.MATH)


@contextmanager
def passes_in(
    precision: Precision, shape: Sequence[int], device: torch.device, *, graph: bool = True
) -> Iterator[None]:
    """What passes of latents (C, H, W) run in, and their backward passes where there is a graph."""
    wide = nullcontext() if precision == "fp32" else products_on(device)
    with attention_of(precision, shape, device) if graph else nullcontext(), wide:
        yield


@dataclass(frozen=True, slots=True)
class InPrecision:
    """A denoiser, given what its network takes."""

    denoise: Denoiser
    precision: Precision

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, H, W), (B,), conditions of B samples -> (B, C, H, W) in the network's type."""
        if self.precision == "bf16-weights":
            x_t = x_t.to(torch.bfloat16)
            # Sizes, which SDXL is told beside the tokens, would not be whole in bf16.
            words = {name: value for name, value in condition.tensors.items() if name == TOKENS}
            condition = condition.having(**{n: w.to(torch.bfloat16) for n, w in words.items()})
        graph = torch.is_grad_enabled()
        with passes_in(self.precision, x_t.shape[1:], x_t.device, graph=graph):
            return self.denoise(x_t, t, condition)
