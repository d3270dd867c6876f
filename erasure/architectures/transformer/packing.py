"""Latents cut into 2 x 2 patches, as transformers of FLUX's kind take them, and put together again.

Source: `FluxPipeline._pack_latents` and `_prepare_latent_image_ids` of diffusers.
"""

# B samples, C x h x w latents, h and w even.

import torch
from torch import Tensor


def packed(latents: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h w / 4, 4 C): patches row by row, channel by channel, then by place."""
    batch, channels, height, width = latents.shape
    cells = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, 4 * channels)


def unpacked(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B, h w / 4, 4 C) -> (B, C, h, w), the inverse of `packed`."""
    batch, _, features = tokens.shape
    cells = tokens.reshape(batch, height // 2, width // 2, features // 4, 2, 2)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(batch, features // 4, height, width)


def patch_places(height: int, width: int, like: Tensor) -> Tensor:
    """(h w / 4, 3): 0, row and column of each patch, in the type and on the device of `like`."""
    rows, columns = torch.meshgrid(
        torch.arange(height // 2), torch.arange(width // 2), indexing="ij"
    )
    places = torch.stack([torch.zeros_like(rows), rows, columns], dim=-1)
    return places.reshape(-1, 3).to(like)
