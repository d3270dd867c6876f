"""The parts of a checkpoint as attacks use them, and the same with random weights."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from erasure.architectures.stable_diffusion import (
    ImageEncoder,
    build_image_encoder,
    build_text_encoder,
    build_unet,
    noise_schedule,
)
from erasure.architectures.text_encoders import TextEncoder, TextEncoderPair
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.schedule import NoiseSchedule
from erasure.seeds import seeded_torch


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Parts:
    """What of a `Target` comes from its checkpoint; the fields have the same names."""

    network: nn.Module
    schedule: NoiseSchedule
    text: TextEncoder | TextEncoderPair
    codec: ImageEncoder
    latent_shape: tuple[int, int, int]

    def fields(self) -> dict[str, Any]:
        """To be given to `Target`."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def open_parts(checkpoint: Checkpoint, size: tuple[int, int], device: torch.device) -> Parts:
    """Build everything, frozen, in float32.

    Args:
        size: height and width of the pictures, in pixels.
    """
    description = checkpoint.description
    factor = 2 ** (len(description.vae["block_out_channels"]) - 1)
    codec = build_image_encoder(checkpoint)
    codec.network.to(device)
    return Parts(
        network=build_unet(checkpoint).to(device),
        schedule=noise_schedule(description.scheduler),
        text=build_text_encoder(checkpoint).to(device),
        codec=codec,
        latent_shape=(
            int(description.vae["latent_channels"]),
            size[0] // factor,
            size[1] // factor,
        ),
    )


def random_network(checkpoint: Checkpoint, seed: int) -> nn.Module:
    """The UNet of a checkpoint's config with the first weights of its layers, frozen, on CPU.

    It knows nothing of any concept, so what an attack finds in it comes from the attack.
    """
    from diffusers import UNet2DConditionModel

    config = {k: v for k, v in checkpoint.description.unet.items() if not k.startswith("_")}
    with seeded_torch(torch.device("cpu"), seed, "random network"):
        network: nn.Module = UNet2DConditionModel.from_config(config)  # type: ignore[no-untyped-call]
    return network.eval().requires_grad_(False)
