"""Many small colour pictures from few drawings: moved, turned, scaled, tinted, on busy papers."""

# N pictures, D drawings, S = 64 pixels a side of a drawing, H = 32 of a picture.

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.seeds import generator_for

SIZE: Final = 32
_TURN: Final = math.radians(25)
_SCALE: Final = (0.65, 1.1)
_SHIFT: Final = 0.2
"""Largest shift as a share of the half width."""
_TINT: Final = math.radians(50)
"""Largest turn of the hue; more would make fruit of any colour."""
_NOISE: Final = 0.05
"""Standard deviation, of pixels in [0, 1]."""
_CHUNK: Final = 500


def draw_pictures(
    drawings: Tensor, classes: Tensor, count: int, *key: int | str
) -> tuple[Tensor, Tensor]:
    """Place drawings at random; as many of each class as of any other, up to one.

    Args:
        drawings: RGBA in [0, 1], colours premultiplied, (D, 4, S, S).
        classes: class of each drawing, (D,), every class from 0 on at least once.
        count: pictures to make, N.
        key: decides all randomness.

    Returns:
        Pixels uint8 (N, 3, H, H) and labels int64 (N,), in random order.
    """
    generator = generator_for(*key)
    total = int(classes.max()) + 1
    labels = (torch.arange(count) % total)[torch.randperm(count, generator=generator)]
    chosen = torch.empty(count, dtype=torch.int64)
    for label in range(total):
        members = (classes == label).nonzero()[:, 0]
        where = labels == label
        picks = torch.randint(len(members), (int(where.sum()),), generator=generator)
        chosen[where] = members[picks]
    parts = [_compose(drawings[part], generator) for part in chosen.split(_CHUNK)]
    return torch.cat(parts), labels


def _compose(drawings: Tensor, generator: torch.Generator) -> Tensor:
    """One picture of each drawing, uint8 (B, 3, H, H)."""
    count = len(drawings)
    grid = F.affine_grid(_placements(count, generator), list(drawings.shape), align_corners=False)
    moved = F.grid_sample(drawings, grid, mode="bilinear", align_corners=False)
    small = F.avg_pool2d(moved, moved.shape[-1] // SIZE)  # (B, 4, H, H)
    tint = _tints(count, generator)  # (B, 3, 3)
    colour = torch.einsum("bij,bjhw->bihw", tint, small[:, :3])
    pixels = colour + (1 - small[:, 3:]) * _papers(count, generator)
    light = 0.8 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator)
    pixels = light * pixels + _NOISE * torch.randn(pixels.shape, generator=generator)
    return (255 * pixels.clamp(0, 1)).round().byte()


def _placements(count: int, generator: torch.Generator) -> Tensor:
    """Random affine maps from picture to drawing, half of them mirrored, (B, 2, 3)."""
    draws = torch.rand(5, count, generator=generator)
    angle = _TURN * (2 * draws[0] - 1)
    zoom = 1 / (_SCALE[0] + (_SCALE[1] - _SCALE[0]) * draws[1])
    flip = torch.where(draws[2] < 0.5, -1.0, 1.0)
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    shift = _SHIFT * (2 * draws[3:] - 1) * zoom
    rows = [flip * cos, -flip * sin, shift[0], sin, cos, shift[1]]
    return torch.stack(rows, dim=1).view(count, 2, 3)


def _tints(count: int, generator: torch.Generator) -> Tensor:
    """Rotations of colour about the grey axis by a random angle, (B, 3, 3); grey stays grey."""
    angle = _TINT * (2 * torch.rand(count, 1, 1, generator=generator) - 1)
    grey = torch.full((3, 3), 1 / 3)
    # Rodrigues' formula for the axis (1, 1, 1) / sqrt(3).
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    return angle.cos() * torch.eye(3) + (1 - angle.cos()) * grey + angle.sin() * cross


def _papers(count: int, generator: torch.Generator) -> Tensor:
    """Backgrounds: a random colour with soft clouds of another, (B, 3, H, H)."""
    base, other = torch.rand(2, count, 3, 1, 1, generator=generator)
    clouds = torch.rand(count, 1, 4, 4, generator=generator)
    clouds = F.interpolate(clouds, size=SIZE, mode="bilinear", align_corners=False)
    mixed: Tensor = base + (other - base) * clouds
    return mixed
