"""The autoencoder of FLUX.2: latents in patches of 2 x 2, in units of their own statistics.

Source: `_patchify_latents` and `_encode_vae_image` of diffusers' `Flux2KleinPipeline`.
"""

# B pictures, C channels of the autoencoder, 4 C x h x w latents, H x W pixels.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from erasure.architectures.loading import loaded, maker_of

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint

PATCH: Final = 2
"""Latents of the autoencoder a side of a patch."""


@dataclass(frozen=True, slots=True)
class PatchCodec:
    """Turns pictures into posteriors of latents, and latents into pictures."""

    network: Any
    """AutoencoderKLFlux2"""

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (B, 3, H, W) in [-1, 1] -> mean and deviation, (B, 4 C, h, w) on CPU."""
        taken = pixels.to(self.network.device, self.network.dtype)
        posterior = self.network.encode(taken).latent_dist
        centre, spread = self._statistics(posterior.mean)
        mean = (in_patches(posterior.mean) - centre) / spread
        return mean.float().cpu(), (in_patches(posterior.std) / spread).float().cpu()

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, 4 C, h, w) -> pixels (B, 3, H, W), float32 on the network's device.

        All in one pass; gradients reach the latents.
        """
        taken = latents.to(self.network.device, self.network.dtype)
        centre, spread = self._statistics(taken)
        pixels: Tensor = self.network.decode(out_of_patches(taken * spread + centre))[0]
        return pixels.float()

    def to(self, device: torch.device) -> "PatchCodec":
        """Move it, in place."""
        self.network.to(device)
        return self

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the latents that it was trained on, (4 C, 1, 1)."""
        statistics = self.network.bn
        spread = torch.sqrt(statistics.running_var + self.network.config.batch_norm_eps)
        return (
            statistics.running_mean.to(like)[:, None, None],
            spread.to(like)[:, None, None],
        )


def in_patches(latents: Tensor) -> Tensor:
    """(B, C, 2 h, 2 w) -> (B, 4 C, h, w): channel by channel, then by place in the patch."""
    batch, channels, height, width = latents.shape
    cells = latents.reshape(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    rows = cells.permute(0, 1, 3, 5, 2, 4)
    return rows.reshape(batch, channels * PATCH**2, height // PATCH, width // PATCH)


def out_of_patches(latents: Tensor) -> Tensor:
    """(B, 4 C, h, w) -> (B, C, 2 h, 2 w), the inverse of `in_patches`."""
    batch, channels, height, width = latents.shape
    cells = latents.reshape(batch, channels // PATCH**2, PATCH, PATCH, height, width)
    rows = cells.permute(0, 1, 4, 2, 5, 3)
    return rows.reshape(batch, channels // PATCH**2, height * PATCH, width * PATCH)


patch_autoencoder_of = maker_of("AutoencoderKLFlux2")


def build_patch_autoencoder(checkpoint: "Checkpoint", dtype: torch.dtype) -> PatchCodec:
    """Build the autoencoder on CPU."""
    weights = {
        k: v.to(dtype) if v.is_floating_point() else v
        for k, v in checkpoint.components["vae"].items()
    }
    config = checkpoint.description.components["vae"]
    return PatchCodec(loaded(patch_autoencoder_of, config, weights, "vae"))
