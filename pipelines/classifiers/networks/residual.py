"""Residual networks with the stem for small pictures: one 3x3 convolution, no pooling."""

# B pictures of C channels, H x W pixels; K classes.

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

BLOCKS: Final = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
"""Blocks of each of the four stages."""
_CHANNELS: Final = (64, 128, 256, 512)
_EXPANSION: Final = 4


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inner: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(inner, width, 3, stride),
            nn.ReLU(),
            *_convolution(width, width, 3, 1),
        )
        self.shortcut = _shortcut(inner, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, four times as wide outside as inside, and a shortcut."""

    def __init__(self, inner: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(inner, width, 1, 1),
            nn.ReLU(),
            *_convolution(width, width, 3, stride),
            nn.ReLU(),
            *_convolution(width, _EXPANSION * width, 1, 1),
        )
        self.shortcut = _shortcut(inner, _EXPANSION * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class ResNet(nn.Module):
    """arXiv:1512.03385 with the stem of its section 4.2, as all the unlearning papers use it."""

    def __init__(self, name: str, channels: int, classes: int, width: float) -> None:
        """`name` is a key of `BLOCKS`; `width` multiplies the 64 to 512 channels of the stages."""
        super().__init__()
        widths = [max(1, round(width * full)) for full in _CHANNELS]
        deep = name == "resnet50"
        self.stem = nn.Sequential(*_convolution(channels, widths[0], 3, 1), nn.ReLU())
        self.stages = nn.Sequential(*_stages(widths, BLOCKS[name], deep))
        self.head = nn.Linear((_EXPANSION if deep else 1) * widths[-1], classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, K)."""
        logits: Tensor = self.head(self.stages(self.stem(pixels)).mean(dim=(2, 3)))
        return logits


def _stages(widths: Sequence[int], blocks: Sequence[int], deep: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    inner = widths[0]
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for n in range(count):
            stride = 2 if stage > 0 and n == 0 else 1
            layers.append((Bottleneck if deep else BasicBlock)(inner, width, stride))
            inner = (_EXPANSION if deep else 1) * width
    return layers


def _convolution(inner: int, outer: int, size: int, stride: int) -> list[nn.Module]:
    padding = size // 2
    return [nn.Conv2d(inner, outer, size, stride, padding, bias=False), nn.BatchNorm2d(outer)]


class Projection(nn.Sequential):
    """A 1x1 convolution of every `stride`-th pixel, for a shortcut that changes its shape.

    The pixels are taken first: torch's convolution of kernel 1 and stride 2 crashes in its backward
    pass on a CPU with few channels last and several threads. Same numbers, same names.
    """

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__(*_convolution(inner, outer, 1, 1))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        shortened: Tensor = super().forward(x[..., :: self.stride, :: self.stride])  # type: ignore[no-untyped-call]
        return shortened


def _shortcut(inner: int, outer: int, stride: int) -> nn.Module:
    if stride == 1 and inner == outer:
        return nn.Identity()
    return Projection(inner, outer, stride)
