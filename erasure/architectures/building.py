"""Build the working parts of a checkpoint, whatever its architecture."""

# diffusers and transformers are imported by the architecture's own functions, when they are called:
# that takes seconds, and most of the package works without them.

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import nn

from erasure.architectures.encoders import Codec, PromptEncoder
from erasure.architectures.loading import on_device
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.schedule import Schedule
from erasure.moving.homes import Homes

CPU: Final = torch.device("cpu")


def build_network(
    checkpoint: Checkpoint, dtype: torch.dtype = torch.float32, device: torch.device = CPU
) -> nn.Module:
    """Build the main component in evaluation mode, its weights copied one after the other to the
    device, so that training leaves the checkpoint as it is."""
    made = checkpoint.architecture.build_network(on_device(checkpoint, device), dtype)
    return made if device == CPU else made.to(device)


def build_codec(
    checkpoint: Checkpoint, dtype: torch.dtype = torch.float32, device: torch.device = CPU
) -> Codec:
    """Build what turns pictures into latents and back, on the device."""
    made = checkpoint.architecture.build_codec(on_device(checkpoint, device), dtype)
    return made if device == CPU else made.to(device)


def build_text_encoder(
    checkpoint: Checkpoint, dtype: torch.dtype = torch.float32, device: torch.device = CPU
) -> PromptEncoder:
    """Build the text encoders, their weights read one after the other to the device, with their
    tokenizers.

    Raises:
        CheckpointError: there is no vocabulary, or it cannot be read.
    """
    made = checkpoint.architecture.build_text_encoder(on_device(checkpoint, device), dtype)
    return made if device == CPU else made.to(device)


def build_tokenizers(checkpoint: Checkpoint) -> Sequence[Any]:
    """Build a tokenizer for each text encoder.

    Raises:
        CheckpointError: there is no vocabulary, or it cannot be read.
    """
    return checkpoint.architecture.build_tokenizers(checkpoint)


def own_size(checkpoint: Checkpoint) -> tuple[int, int]:
    """Give width and height, in pixels, of the pictures that a checkpoint was trained to draw."""
    return checkpoint.architecture.own_size(checkpoint.description)


@dataclass(frozen=True, slots=True, eq=False)
class DrawingParts:
    """What draws pictures from prompts, on one device, in evaluation mode."""

    network: nn.Module
    """The main component."""
    codec: Codec
    text: PromptEncoder
    homes: Homes = field(default_factory=dict)
    """Where the weights of streamed blocks of the network lie."""


def build_parts(
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    device: torch.device,
    network: nn.Module | None = None,
    text: PromptEncoder | None = None,
    homes: Homes | None = None,
) -> DrawingParts:
    """Build all that draws, around a network and text encoders that are there, or of the
    checkpoint's weights; `homes` are those of the network that is there."""
    return DrawingParts(
        build_network(checkpoint, dtype, device) if network is None else network,
        build_codec(checkpoint, dtype, device),
        build_text_encoder(checkpoint, dtype, device) if text is None else text,
        homes or {},
    )


def schedule_of(checkpoint: Checkpoint) -> Schedule:
    """Make the forward process that a checkpoint's scheduler config describes.

    Raises:
        CheckpointError: the scheduler is of another kind, or the model predicts something else
            than noise or velocity.
    """
    return checkpoint.architecture.schedule(checkpoint.description.scheduler)
