"""Latents that a model draws of a concept, and where in them its cross-attention sees it."""

# B samples, C x h x w latents, H heads, p places of a layer, L tokens.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasure.attention.maps import captured
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.sample import ddim, ddim_times
from erasure.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True, slots=True)
class Drawn:
    """Clean latents and where the object is in them."""

    latents: Tensor
    """(B, C, h, w)"""
    where: Tensor
    """(B, h, w) bool."""


@torch.no_grad()
def draw_objects(
    network: nn.Module,
    denoise: Denoiser,
    schedule: NoiseSchedule,
    noise: Tensor,
    concept: Condition,
    empty: Condition,
    spans: Sequence[range],
    *,
    steps: int,
    guidance: float,
    threshold: float,
) -> Drawn:
    """Draw from noise by DDIM and add up what attention says of the concept's tokens.

    Args:
        noise: (B, C, h, w) unit normal.
        concept: of B samples.
        empty: of B samples, which guidance leads away from.
        spans: places of the concept's tokens in each of the B prompts.
        guidance: 1 is none.
        threshold: in [0, 1]; a place belongs to the object where the mean map of all layers and
            steps, stretched to [0, 1] in each picture, is above it.
    """
    total = noise.new_zeros(noise.shape[0], *noise.shape[2:])
    latents = noise
    with captured(network) as maps:
        for state in ddim(
            denoise,
            schedule,
            ddim_times(schedule, steps),
            noise,
            concept,
            away=empty,
            guidance=guidance,
        ):
            latents = state
            if maps:  # the first comes before any pass
                total += seen(maps, spans, total.shape[1:])
    return Drawn(latents, stretched(total) > threshold)


def seen(maps: Mapping[str, Tensor], spans: Sequence[range], size: tuple[int, ...]) -> Tensor:
    """The mean over layers, heads and the concept's tokens, (B, h, w).

    Args:
        maps: name -> (B or 2 B, H, p, L); of 2 B, those with the concept are the last.
        size: (h, w)
    """
    count = len(spans)
    total = torch.zeros(())
    for one in maps.values():
        mine = one[-count:].mean(1)  # (B, p, L)
        rows = [row[:, list(span)].mean(1) for row, span in zip(mine, spans, strict=True)]
        picture = torch.stack(rows).unflatten(1, layer_size(mine.shape[1], size))[:, None]
        total = total + F.interpolate(picture.float(), size=size, mode="bilinear")[:, 0]
    return total / len(maps)


def layer_size(places: int, size: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a layer that sees latents of `size` at `places` places, after as many
    halvings as that takes; an odd side is halved to the larger whole number."""
    height, width = size
    while height * width > places:
        height, width = (height + 1) // 2, (width + 1) // 2
    return height, width


def stretched(values: Tensor) -> Tensor:
    """Each picture of (B, h, w) stretched to [0, 1]; one of a single value becomes 0."""
    flat = values.flatten(1)
    low, high = flat.amin(1), flat.amax(1)
    span = (high - low).clamp(min=1e-12)
    return (values - low[:, None, None]) / span[:, None, None]
