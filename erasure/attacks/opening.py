"""The parts of a checkpoint as attacks use them, and the same with random weights."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from erasure.architectures.architecture import Architecture
from erasure.architectures.building import DrawingParts, schedule_of
from erasure.architectures.encoders import Codec, PromptEncoder
from erasure.architectures.labels.classes import Classes
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.schedule import Schedule
from erasure.moving.homes import Homes
from erasure.seeds import seeded_torch


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Parts:
    """What of a `Target` comes from its checkpoint; the fields have the same names."""

    architecture: Architecture
    network: nn.Module
    schedule: Schedule
    text: PromptEncoder
    codec: Codec
    latent_shape: tuple[int, int, int]
    classes: Classes | None
    homes: Homes

    def fields(self) -> dict[str, Any]:
        """To be given to `Target`."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def random_weights(checkpoint: Checkpoint, seed: int) -> Checkpoint:
    """The same checkpoint with the first weights that the layers of its network have in training.

    Such a network knows nothing of any concept, so what an attack finds in it comes from the
    attack.
    """
    part = checkpoint.architecture.main_part
    config = checkpoint.description.components[part.component]
    with seeded_torch(torch.device("cpu"), seed, "random network"):
        network = part.build({k: v for k, v in config.items() if not k.startswith("_")})
    weights = {name: value.detach() for name, value in network.state_dict().items()}
    return replace(
        checkpoint,
        components={**checkpoint.components, part.component: weights},
        provenance=None,
    )


def parts_of(parts: DrawingParts, checkpoint: Checkpoint, size: tuple[int, int]) -> Parts:
    """Share what draws the checkpoint's pictures, frozen."""
    return Parts(
        architecture=checkpoint.architecture,
        network=parts.network.eval().requires_grad_(False),
        schedule=schedule_of(checkpoint),
        text=parts.text,
        codec=parts.codec,
        latent_shape=checkpoint.architecture.latent_shape(checkpoint.description, *size),
        classes=checkpoint.classes,
        homes=parts.homes,
    )
