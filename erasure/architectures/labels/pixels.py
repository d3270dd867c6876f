"""In the place of an autoencoder: models that noise the pixels themselves."""

# B pictures, C channels of the model (1 or 3), H x W pixels.

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PixelCodec:
    """Hands pixels through, in as many channels as the model has."""

    channels: int
    """1 for grey pictures, or 3."""

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Give pixels (B, 3, H, W) in [-1, 1] as mean (B, C, H, W), and a deviation of 0.

        A grey model is given the mean of the three colours, which of a grey picture is each.
        """
        values = pixels.float().cpu()
        mean = values.mean(dim=1, keepdim=True) if self.channels == 1 else values
        return mean, torch.zeros_like(mean)

    def decode(self, latents: Tensor) -> Tensor:
        """Give (B, C, H, W) as pixels (B, 3, H, W), float32; gradients pass."""
        return latents.float().repeat(1, 3 // self.channels, 1, 1)

    def to(self, device: torch.device) -> "PixelCodec":
        """Stay as it is: `decode` works where its input is."""
        return self
