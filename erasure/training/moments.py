"""8-bit moments: what an optimiser remembers of a weight in one byte a moment, not four."""

# Source: arXiv:2110.02861 (block-wise dynamic quantisation), as the library bitsandbytes has it.

from collections.abc import Iterable, Mapping
from typing import Any, Final

import torch
from torch import nn

from erasure.errors import ConfigError

_CLASSES: Final[Mapping[str, str]] = {"adam": "Adam8bit", "adamw": "AdamW8bit", "sgd": "SGD8bit"}
_LEAST: Final = 4096
"""Vectors of fewer weights keep moments of 32 bits, as the library's authors advise."""


def eight_bit_optimizer(
    name: str,
    vectors: Iterable[nn.Parameter],
    **settings: Any,  # noqa: ANN401
) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD with momentum, its moments in 8 bits.

    One byte a moment and weight, and 4 bytes for each block of 256 weights: Adam 2.03 bytes a
    weight where it has 8. A step needs the float32 moments of one vector at a time.

    Args:
        name: `adam`, `adamw` or `sgd`; bitsandbytes decays the weights of its Adam as AdamW does.
        vectors: float32, all on one device.
        settings: `lr`, `weight_decay`, for SGD `momentum`.

    Raises:
        ConfigError: bitsandbytes is not installed, or cannot do it on this device.
    """
    tensors = list(vectors)
    require_eight_bit(name, tensors[0].device)
    optimizer: torch.optim.Optimizer = _class_of(name)(tensors, **settings)
    return optimizer


def require_eight_bit(name: str, device: torch.device) -> None:
    """Take one step of few weights there: the library has no list of the devices that it serves.

    Raises:
        ConfigError: as `eight_bit_optimizer`.
    """
    make = _class_of(name)
    try:
        weight = nn.Parameter(torch.zeros(_LEAST, device=device))
        weight.grad = torch.ones_like(weight)
        make([weight], lr=1.0, **({"momentum": 0.9} if name == "sgd" else {})).step()
    except torch.OutOfMemoryError:
        raise
    # NotImplementedError is a RuntimeError; a torch without CUDA asserts that it has it.
    except (AssertionError, AttributeError, RuntimeError) as err:
        reason = str(err).strip().partition("\n")[0]
        raise ConfigError(
            f"moments is '8bit', which bitsandbytes cannot do on {device.type} here ({reason}); "
            'give moments = "fp32", or another device'
        ) from err


def _class_of(name: str) -> Any:  # noqa: ANN401
    try:
        import bitsandbytes
    except (ImportError, OSError) as err:
        raise ConfigError(
            "moments is '8bit', which needs bitsandbytes; install it with "
            f"`pip install 'diffusion-erasure[8bit]'`, or give moments = \"fp32\" ({err})"
        ) from err
    return getattr(bitsandbytes.optim, _CLASSES[name])
