"""Endless augmented 64x64 pictures from one drawing a pair: moved, turned, scaled, on papers."""

# B pictures, S = 128 drawing size, H = 64 picture size.

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from prompts.canvas import STYLES

IMAGE_SIZE: Final = 64
SHIFT: Final = 0.10
"""Largest shift, as a share of the half width."""
SCALE: Final = (0.72, 0.94)
TURN: Final = math.radians(12)
_SKETCH, _STICKER, _BLUEPRINT = (STYLES.index(s) for s in ("sketch", "sticker", "blueprint"))


@dataclass(frozen=True, slots=True)
class Pictures:
    """A batch with its labels."""

    pixels: Tensor
    """(B, 3, 64, 64) in [-1, 1]."""
    style: Tensor
    """(B,) index into STYLES."""
    obj: Tensor
    """(B,) index into OBJECTS."""


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)


def _placements(n: int, generator: torch.Generator) -> Tensor:
    """Random affine maps from picture to drawing, (n, 2, 3)."""
    angle = _uniform(n, -TURN, TURN, generator)
    zoom = 1 / _uniform(n, *SCALE, generator)
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    shift = SHIFT * (2 * torch.rand(2, n, generator=generator) - 1) * zoom
    return torch.stack([cos, -sin, shift[0], sin, cos, shift[1]], dim=1).view(n, 2, 3)


def papers(style: Tensor, generator: torch.Generator) -> Tensor:
    """Plain backgrounds, (B, 3, S, S): pastel, off-white for sketches, blue with a grid."""
    n, size = len(style), 2 * IMAGE_SIZE
    hue = torch.rand(n, 1, generator=generator)
    strength = _uniform(n, 0.0, 0.22, generator).unsqueeze(1)
    phase = torch.tensor([0.0, 1 / 3, 2 / 3])
    colour = 1 - strength * (0.5 - 0.5 * torch.cos(2 * math.pi * (hue - phase)))  # (B, 3)
    white = 1 - _uniform(n, 0.0, 0.08, generator).unsqueeze(1) * torch.tensor([0.3, 0.5, 1.0])
    shade = _uniform(n, 0.85, 1.15, generator).unsqueeze(1)
    blue = shade * torch.tensor([0.12, 0.32, 0.62])
    colour = torch.where((style == _SKETCH).unsqueeze(1), white, colour)
    colour = torch.where((style == _BLUEPRINT).unsqueeze(1), blue, colour)
    papers = colour[:, :, None, None].expand(n, 3, size, size).clone()
    line = torch.arange(size) % 32 < 2
    grid = (line[:, None] | line[None, :]) & (style == _BLUEPRINT)[:, None, None]
    return torch.where(grid.unsqueeze(1), papers + 0.16, papers)


def prepare(drawings: Tensor) -> Tensor:
    """Put the styles that are rendered, not drawn, on top of their icons; once, before sampling.

    Args:
        drawings: (styles, objects, 4, S, S) RGBA in [0, 1].

    Returns:
        The same shape, colours premultiplied by alpha.
    """
    colour, alpha = drawings[:, :, :3], drawings[:, :, 3:]
    pictures = torch.cat([colour * alpha, alpha], dim=2)
    # Every drawing shrinks a little so that a border has room and a turn cuts nothing off.
    flat = F.interpolate(pictures.flatten(0, 1), scale_factor=0.90, mode="area")
    pad = pictures.shape[-1] - flat.shape[-1]
    pictures = F.pad(flat, (pad // 2, pad - pad // 2) * 2).view_as(pictures)
    sticker = pictures[_STICKER]
    border = F.avg_pool2d(F.max_pool2d(sticker[:, 3:], 11, 1, 5), 3, 1, 1)
    below = F.pad(border, (2, 0, 3, 0))[..., : border.shape[-2], : border.shape[-1]]
    shadow = F.avg_pool2d(below, 7, 1, 3)
    die_cut = sticker[:, :3] + (border - sticker[:, 3:]).clamp(min=0)
    alpha = torch.maximum(border, 0.45 * shadow)
    pictures[_STICKER] = torch.cat([die_cut, alpha], dim=1)
    lines = pictures[_BLUEPRINT][:, 3:]
    pictures[_BLUEPRINT] = lines.expand(-1, 4, -1, -1)
    return pictures


def draw(pictures: Tensor, pairs: Tensor, generator: torch.Generator) -> Pictures:
    """Place drawings on papers at random.

    Args:
        pictures: (styles, objects, 4, S, S) from `prepare`.
        pairs: (B,) flat index, style * objects + object.
        generator: CPU generator; all randomness comes from it.
    """
    objects = pictures.shape[1]
    style, obj = pairs // objects, pairs % objects
    return Pictures(place(pictures.flatten(0, 1)[pairs], style, generator), style, obj)


def place(chosen: Tensor, style: Tensor, generator: torch.Generator) -> Tensor:
    """Drawings at random places on random papers of their styles, (B, 3, H, H) in [-1, 1].

    Args:
        chosen: (B, 4, S, S) as `prepare` gives them.
        style: (B,) index into STYLES, for the papers.
        generator: CPU generator.
    """
    maps = _placements(len(chosen), generator)
    grid = F.affine_grid(maps, list(chosen.shape), align_corners=False)
    moved = F.grid_sample(chosen, grid, mode="bilinear", align_corners=False)
    colour, alpha = moved[:, :3], moved[:, 3:]
    composed = colour + (1 - alpha) * papers(style, generator)
    return (2 * F.avg_pool2d(composed, 2) - 1).clamp(-1, 1)
