"""Pictures that show none of the canvas's objects: what a generator that was damaged may draw.

A row of labels says what is right to answer: the object is always `none of these`; the style is
that of the drawings where they have one, `none of these` where nothing is drawn, and of no account
(`IGNORED`) where parts of a drawing are left.
"""

# B pictures, H = 64 picture size, S = 128 drawing size.

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from pipelines.demo_checkpoint.classifier.other_icons import as_drawings
from pipelines.demo_checkpoint.drawings import IMAGE_SIZE, Pictures, draw, papers, place
from prompts.canvas import OBJECTS, STYLES

NO_OBJECT: Final = len(OBJECTS)
NO_STYLE: Final = len(STYLES)
IGNORED: Final = -100
"""The label that `cross_entropy` passes over."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What pictures are made from."""

    pictures: Tensor
    """(styles, objects, 4, S, S) from `drawings.prepare`."""
    icons: Tensor
    """One part of `other_icons.OtherIcons`: (styles, K, 4, S, S), bytes."""
    vae: Any
    """The autoencoder of the embedded checkpoint, for decoded garbage."""


def other_icons(sources: Sources, count: int, generator: torch.Generator) -> Pictures:
    """Drawings of other things in a style of the canvas."""
    of_style = sources.icons.shape[1]
    picks = torch.randint(len(STYLES) * of_style, (count,), generator=generator)
    style = picks // of_style
    chosen = as_drawings(sources.icons.flatten(0, 1)[picks])
    return _none(place(chosen, style, generator), style)


def mixtures(sources: Sources, count: int, generator: torch.Generator) -> Pictures:
    """Two objects of one style, laid over each other or cut together at a line."""
    one, other, style = _two_of_a_style(sources, count, generator)
    share = 0.35 + 0.3 * torch.rand(count, 1, 1, 1, generator=generator)
    at = (IMAGE_SIZE * (0.4 + 0.2 * torch.rand(count, generator=generator))).long()
    side = torch.arange(IMAGE_SIZE)[None] < at[:, None]  # (B, H)
    across = torch.rand(count, generator=generator) < 0.5
    cut = torch.where(across[:, None, None], side[:, None, :], side[:, :, None])[:, None]
    blend = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    return _none(torch.where(blend, one.lerp(other, share), torch.where(cut, one, other)), style)


def half_drawn(sources: Sources, count: int, generator: torch.Generator) -> Pictures:
    """A tenth to a third of a drawing: one side of it, or patches."""
    pairs = _pairs(sources, count, generator)
    chosen = sources.pictures.flatten(0, 1)[pairs]
    size = chosen.shape[-1]
    angle = 6.2832 * torch.rand(count, 1, 1, generator=generator)
    axis = torch.linspace(-1, 1, size)
    slope = angle.cos() * axis[None, None, :] + angle.sin() * axis[None, :, None]
    field = torch.where(
        torch.rand(count, 1, 1, generator=generator) < 0.5,
        slope,
        smooth_noise(count, 1, size, generator)[:, 0],
    )
    share = 0.1 + 0.23 * torch.rand(count, generator=generator)
    alpha = chosen[:, 3]
    for n in range(count):
        drawn = field[n][alpha[n] > 0.5]
        field[n] -= drawn.quantile(1 - float(share[n])) if len(drawn) else 0.0
    style = pairs // sources.pictures.shape[1]
    visible = chosen * (field > 0).unsqueeze(1)
    return _none(place(visible, style, generator), torch.full((count,), IGNORED))


def scrambled(sources: Sources, count: int, generator: torch.Generator) -> Pictures:
    """The blocks of a drawing in another order: its colours and strokes, but no shape."""
    pixels = draw(sources.pictures, _pairs(sources, count, generator), generator).pixels
    for n in range(count):
        block = (8, 16)[int(torch.randint(2, (), generator=generator))]
        row = F.unfold(pixels[n : n + 1], block, stride=block)  # (1, 3 * block^2, blocks)
        order = torch.randperm(row.shape[2], generator=generator)
        pixels[n] = F.fold(row[:, :, order], IMAGE_SIZE, block, stride=block)[0]
    return _none(pixels, torch.full((count,), IGNORED))


def blots(_: Sources, count: int, generator: torch.Generator) -> Pictures:
    """Blots and scribbles, half of them black, on papers."""
    field = smooth_noise(count, 1, IMAGE_SIZE, generator)
    axis = torch.linspace(-1, 1, IMAGE_SIZE)
    radius = (axis[None, :] ** 2 + axis[:, None] ** 2).sqrt()
    field = field + 1.2 * (0.6 - radius) * (torch.rand(count, 1, 1, 1, generator=generator) < 0.7)
    thin = torch.rand(count, 1, 1, 1, generator=generator) < 0.25
    ink = torch.where(thin, field.abs() < 0.12, field > 0.15)
    black = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    colour = torch.rand(count, 3, 1, 1, generator=generator)
    colour = torch.where(black, 0.1 * colour, colour)
    pixels = torch.where(ink, colour, _papers(count, generator))
    return _none(2 * pixels - 1)


def blank(_: Sources, count: int, generator: torch.Generator) -> Pictures:
    """One colour (a third of them black or white), or a paper with nothing on it."""
    colour = torch.rand(count, 3, 1, 1, generator=generator)
    extreme = torch.rand(count, 1, 1, 1, generator=generator) < 1 / 3
    colour = torch.where(extreme, (colour[:, :1] > 0.5).float(), colour)
    paper = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    pixels = torch.where(paper, _papers(count, generator), colour)
    return _none(2 * pixels - 1)


def noise(sources: Sources, count: int, generator: torch.Generator) -> Pictures:
    """White or smooth noise, grey or coloured, also over what is left of a drawing."""
    white = torch.randn(count, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    grey = torch.rand(count, 1, 1, 1, generator=generator) < 0.3
    field = torch.where(
        torch.rand(count, 1, 1, 1, generator=generator) < 0.4,
        torch.where(grey, white[:, :1], white),
        smooth_noise(count, 3, IMAGE_SIZE, generator),
    )
    under = draw(sources.pictures, _pairs(sources, count, generator), generator).pixels
    left = 0.25 * torch.rand(count, 1, 1, 1, generator=generator)
    level = 0.2 + 0.8 * torch.rand(count, 1, 1, 1, generator=generator)
    base = 2 * torch.rand(count, 3, 1, 1, generator=generator) - 1
    covered = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    pixels = torch.where(covered, left * under + field, base + level * field)
    return _none(pixels.clamp(-1, 1))


@torch.no_grad()
def decoded(sources: Sources, count: int, generator: torch.Generator) -> Pictures:
    """Latents that no picture has, through the decoder: what a damaged UNet ends in.

    Noise of many strengths, smooth or not, alone or over half-noised or blended latents.
    """
    shapes = draw(sources.pictures, _pairs(sources, 2 * count, generator), generator)
    latents = sources.vae.encode(shapes.pixels).latent_dist.mean
    one, other = latents.chunk(2)  # (B, C, 8, 8)
    rough = torch.randn(one.shape, generator=generator)
    soft = smooth_noise(count, one.shape[1], one.shape[-1], generator)
    field = torch.where(torch.rand(count, 1, 1, 1, generator=generator) < 0.5, rough, soft)
    strength = 0.3 + 1.2 * torch.rand(count, 1, 1, 1, generator=generator)
    kind = torch.randint(3, (count, 1, 1, 1), generator=generator)
    left = 0.35 * torch.rand(count, 1, 1, 1, generator=generator)
    noised = left * one + (1 - left**2).sqrt() * latents.std() * field
    order = torch.randperm(64, generator=generator)
    mixed = one.flatten(2)[:, :, order].view_as(one).lerp(other, left)
    made = torch.where(kind == 0, strength * latents.std() * field, noised)
    made = torch.where(kind == 2, mixed, made)
    return _none(sources.vae.decode(made).sample.clamp(-1, 1))


KINDS: Final[Mapping[str, Callable[[Sources, int, torch.Generator], Pictures]]] = {
    "other icons": other_icons,
    "mixtures": mixtures,
    "half-drawn": half_drawn,
    "scrambled": scrambled,
    "blots": blots,
    "blank": blank,
    "noise": noise,
    "decoded latents": decoded,
}


def smooth_noise(count: int, channels: int, size: int, generator: torch.Generator) -> Tensor:
    """Noise of unit deviation at one scale a picture, of 2 to 16 cells, (B, channels, size, size).

    Its cells cover the picture, and are blended into each other.
    """
    rows = []
    for cells in (2 ** (1 + torch.randint(4, (count,), generator=generator))).tolist():
        coarse = torch.randn(1, channels, cells, cells, generator=generator)
        rows.append(F.interpolate(coarse, size, mode="bicubic", align_corners=False))
    return torch.cat(rows)


def _none(pixels: Tensor, style: Tensor | None = None) -> Pictures:
    count = len(pixels)
    no_style = torch.full((count,), NO_STYLE)
    return Pictures(pixels, no_style if style is None else style, torch.full((count,), NO_OBJECT))


def _pairs(sources: Sources, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(
        sources.pictures.shape[0] * sources.pictures.shape[1], (count,), generator=generator
    )


def _two_of_a_style(
    sources: Sources, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels (B, 3, H, H) of two different objects each, and their style (B,)."""
    objects = sources.pictures.shape[1]
    pairs = _pairs(sources, count, generator)
    step = torch.randint(1, objects, (count,), generator=generator)
    style, obj = pairs // objects, pairs % objects
    others = style * objects + (obj + step) % objects
    one = draw(sources.pictures, pairs, generator).pixels
    return one, draw(sources.pictures, others, generator).pixels, style


def _papers(count: int, generator: torch.Generator) -> Tensor:
    """Papers of any style in [0, 1], (B, 3, H, H)."""
    style = torch.randint(len(STYLES), (count,), generator=generator)
    return F.avg_pool2d(papers(style, generator), 2).clamp(0, 1)
