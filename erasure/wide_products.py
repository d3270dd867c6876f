"""Products of bfloat16 on a CPU that multiplies no bfloat16, computed in float32 one by one.

Such a CPU (x86 without AVX-512) multiplies bfloat16 a number at a time: a gradient that passes a
linear layer backward takes a hundred times as long as in float32. Here what a product takes and
gives stays bfloat16, and so does all that is kept for the backward pass; float32 copies exist of
the numbers of one product, while it is computed. Sums in float32 that are rounded once are what
CPUs with such products, and GPUs, give too.
"""

import platform
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_HALF: Final = torch.bfloat16
_NARROW: Final = ("DEFAULT", "AVX2")
"""What torch calls x86 CPUs without AVX-512."""
_X86: Final = ("x86_64", "AMD64")
_ATEN: Final = torch.ops.aten
_PRODUCTS: Final = frozenset(
    (
        _ATEN.mm.default,
        _ATEN.addmm.default,
        _ATEN.bmm.default,
        _ATEN.baddbmm.default,
        _ATEN.convolution.default,
        _ATEN.convolution_backward.default,
        _ATEN._scaled_dot_product_flash_attention_for_cpu.default,
        _ATEN._scaled_dot_product_flash_attention_for_cpu_backward.default,
    )
)
"""What linear layers, convolutions and attention come down to, forward and backward."""


def multiplies_wide(device: torch.device) -> bool:
    """Whether products of bfloat16 are computed in float32 on a device."""
    narrow = torch.backends.cpu.get_cpu_capability() in _NARROW
    return device.type == "cpu" and platform.machine() in _X86 and narrow


def products_on(device: torch.device) -> AbstractContextManager[object]:
    """What passes in bfloat16, and their backward passes, run in; nothing elsewhere."""
    if not multiplies_wide(device):
        return nullcontext()
    mode: AbstractContextManager[object] = WideProducts()  # type: ignore[no-untyped-call]
    return mode


class WideProducts(TorchDispatchMode):
    """Products of bfloat16 tensors on the CPU are computed in float32 and rounded once."""

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        named = kwargs or {}
        if func not in _PRODUCTS or not any(map(_is_half, tree_leaves((args, named)))):
            return func(*args, **named)
        args, named = tree_map(_wide, (args, named))
        made = func(*args, **named)
        if func is _ATEN._scaled_dot_product_flash_attention_for_cpu.default:
            return _half(made[0]), *made[1:]  # the log-sums are float32 in any case
        return tree_map(_half, made)


def _is_half(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype == _HALF and value.device.type == "cpu"


def _wide(value: object) -> object:
    return value.float() if isinstance(value, Tensor) and _is_half(value) else value


def _half(value: object) -> object:
    return value.to(_HALF) if isinstance(value, Tensor) else value
