"""The one way in for pictures that a metric measures: PIL images or bytes, never floats."""

# B pictures of HxW pixels, C channels.

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eval.errors import EvalError

Pictures: TypeAlias = Sequence[Image.Image] | Tensor
"""PIL images of any sizes, or a uint8 tensor (B, 3, H, W) in 0..255."""

_MODES: Final = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK")  # a byte or less a channel


def rgb_pictures(pictures: Pictures) -> list[Image.Image]:
    """The pictures as PIL images in RGB.

    Raises:
        EvalError: they are floats, or of a shape or kind that is no picture. Cast as they are,
            floats in [-1, 1] would keep three of 256 grey levels: a known defect of a released
            evaluation, whose figures nobody noticed to be wrong.
    """
    if isinstance(pictures, Tensor):
        return _from_tensor(pictures)
    for picture in pictures:
        if not isinstance(picture, Image.Image):
            raise EvalError(
                f"a picture came as {type(picture).__name__}; give PIL images or one uint8 tensor "
                "(B, 3, H, W)"
            )
        if picture.mode not in _MODES:
            raise EvalError(
                f"a picture came in mode {picture.mode!r}, which is no picture of bytes; convert "
                "it to RGB in 0..255"
            )
    return [picture.convert("RGB") for picture in pictures]


def _from_tensor(pixels: Tensor) -> list[Image.Image]:
    if pixels.dtype != torch.uint8:
        limits = ""
        if pixels.is_floating_point() and pixels.numel():
            limits = f" in [{float(pixels.min()):.4g}, {float(pixels.max()):.4g}]"
        raise EvalError(
            f"pictures came as {str(pixels.dtype).removeprefix('torch.')}{limits}; scale them to "
            "0..255, round, and give uint8 (B, 3, H, W), or give PIL images"
        )
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise EvalError(f"pictures came as {tuple(pixels.shape)}; give (B, 3, H, W)")
    return [Image.fromarray(picture) for picture in pixels.permute(0, 2, 3, 1).cpu().numpy()]


def to_bytes(image: Image.Image) -> Tensor:
    """An RGB image as uint8 (3, H, W)."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def by_size(pictures: Sequence[Tensor], run: Callable[[Tensor], Tensor]) -> Tensor:
    """Run a network on pictures of mixed sizes, those of one size together.

    Args:
        pictures: B tensors (C, H, W), at least one.
        run: (b, C, H, W) -> (b, ...).

    Returns:
        (B, ...) in the order of the pictures.
    """
    groups: dict[torch.Size, list[int]] = {}
    for index, picture in enumerate(pictures):
        groups.setdefault(picture.shape, []).append(index)
    outputs = torch.cat([run(torch.stack([pictures[i] for i in g])) for g in groups.values()])
    order = torch.tensor([i for group in groups.values() for i in group], device=outputs.device)
    return outputs[order.argsort()]
