"""The parts of a checkpoint as attacks use them, and the same with random weights."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from erasure.architectures.stable_diffusion import (
    ImageEncoder,
    build_pipeline,
    noise_schedule,
    text_encoder_of,
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
    return parts_of(build_pipeline(checkpoint).to(device), checkpoint, size)


def random_weights(checkpoint: Checkpoint, seed: int) -> Checkpoint:
    """The same checkpoint with the first weights that the layers of its UNet have in training.

    Such a network knows nothing of any concept, so what an attack finds in it comes from the
    attack.
    """
    from diffusers import UNet2DConditionModel

    config = {k: v for k, v in checkpoint.description.unet.items() if not k.startswith("_")}
    with seeded_torch(torch.device("cpu"), seed, "random network"):
        network: nn.Module = UNet2DConditionModel.from_config(config)
    weights = {name: value.detach() for name, value in network.state_dict().items()}
    return replace(
        checkpoint,
        components={**checkpoint.components, checkpoint.family.main: weights},
        provenance=None,
    )


def parts_of(
    pipeline: Any,  # noqa: ANN401
    checkpoint: Checkpoint,
    size: tuple[int, int],
) -> Parts:
    """The parts of a diffusers pipeline of the checkpoint, shared with it and frozen."""
    factor = 2 ** (len(checkpoint.description.vae["block_out_channels"]) - 1)
    return Parts(
        network=pipeline.unet.eval().requires_grad_(False),
        schedule=noise_schedule(checkpoint.description.scheduler),
        text=text_encoder_of(pipeline),
        codec=ImageEncoder(pipeline.vae),
        latent_shape=(
            int(checkpoint.description.vae["latent_channels"]),
            size[0] // factor,
            size[1] // factor,
        ),
    )
