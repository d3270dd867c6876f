"""What Stable Diffusion 1.x, 2.x and XL have in common: a UNet on the latents of one autoencoder,
told by CLIP."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from erasure.architectures.architecture import Part
from erasure.architectures.autoencoder import (
    autoencoder_of,
    latent_channels,
    shrinking,
)
from erasure.architectures.text.clip_towers import build_tokenizer, build_tower, clip_of
from erasure.architectures.text.names import TEXT_SCOPES
from erasure.architectures.text.text_encoders import TextEncoder
from erasure.architectures.unet.network import unet_of
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.checkpoints.checks.plain_unet import (
    FIRST_CONVOLUTION,
    require_plain_unet,
    require_plain_weights,
)
from erasure.checkpoints.checks.plain_vae import require_plain_vae
from erasure.checkpoints.layout import clip, openclip, unet, vae
from erasure.errors import CheckpointError
from erasure.storage.bare_names import shown

_MOST_LEVELS: Final = 8
"""Levels of an autoencoder; the published ones have 4."""

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.checkpoints.description import Description

UNET: Final = Part(
    component="unet",
    title="UNet",
    prefix="model.diffusion_model.",
    build=unet_of,
    to_original=unet.to_original,
    to_diffusers=unet.to_diffusers,
    signs_original=(FIRST_CONVOLUTION, "time_embed.0.weight", "out.2.weight"),
    signs_diffusers=("conv_in.weight", "time_embedding.linear_1.weight", "conv_out.weight"),
)
VAE: Final = Part(
    component="vae",
    title="VAE",
    prefix="first_stage_model.",
    build=autoencoder_of,
    to_original=vae.to_original,
    to_diffusers=vae.to_diffusers,
    tidy_diffusers=vae.modern_names,
)
CLIP: Final = Part(
    component="text_encoder",
    title="text encoder",
    prefix="cond_stage_model.transformer.",
    build=clip_of,
    to_original=clip.to_original,
    to_diffusers=clip.to_diffusers,
    tidy_diffusers=clip.with_prefix,
    tidy_original=clip.with_prefix,
    scopes=TEXT_SCOPES,
)
OPENCLIP: Final = Part(
    component="text_encoder",
    title="text encoder",
    prefix="cond_stage_model.model.",
    build=clip_of,
    to_original=openclip.to_original,
    to_diffusers=openclip.to_diffusers,
    tidy_diffusers=clip.with_prefix,
    tidy_original=openclip.usual_names,
    scopes=TEXT_SCOPES,
)


def check_configs(
    description: "Description",
    where: str,
    *,
    title: str,
    addition: str | None = None,
    statistics: bool = False,
) -> tuple[str, ...]:
    """Refuse a model that plain text-to-image of its family cannot give all it was trained with.

    Args:
        description: its configs.
        where: whose configs they are.
        title: of the family.
        addition: the `addition_embed_type` of the family's UNet.
        statistics: whether the family's pipeline reads `latents_mean` and `latents_std`.

    Returns:
        Notes on what its configs leave open.

    Raises:
        CheckpointError: see `plain_unet` and `plain_vae`, and where the UNet listens to another
            number of features than the text encoders, side by side, give.
    """
    latents, unet = latent_channels(description), description.components["unet"]
    _require_size(unet, description.components["vae"], where)
    require_plain_unet(unet, title, latents, where, addition=addition)
    encoders = description.tokenizers().values()
    width = sum(whole_number(one, "hidden_size", "a text encoder", 512) for one in encoders)
    taken = unet.get("cross_attention_dim", 1280)
    if isinstance(taken, int) and taken != width:
        raise CheckpointError(
            f"{where} has a UNet that listens to {taken} features (cross_attention_dim) and "
            f"{'a text encoder that gives' if len(encoders) == 1 else 'text encoders that give'} "
            f"{width}; they are of different models: give those that belong together"
        )
    return require_plain_vae(description.components["vae"], title, where, statistics=statistics)


def _require_size(unet: Mapping[str, Any], vae: Mapping[str, Any], where: str) -> None:
    """Refuse configs without the two entries that the size of pictures follows from."""
    side, levels = unet.get("sample_size"), vae.get("block_out_channels")
    if type(side) is not int or side < 1:
        raise CheckpointError(
            f"{where}: sample_size of unet is {shown(side)}, not a whole number of 1 or more"
        )
    if not isinstance(levels, list) or not 0 < len(levels) <= _MOST_LEVELS:
        raise CheckpointError(
            f"{where}: block_out_channels of vae is {shown(levels)}, not a list of 1 to "
            f"{_MOST_LEVELS} numbers"
        )


def check_weights(
    weights: Mapping[str, Tensor], description: "Description", where: str, *, labels: bool = False
) -> None:
    """Refuse the UNet of a single file that is no plain one; `labels` where it has label weights.

    Raises:
        CheckpointError: see `plain_unet`.
    """
    first = weights[FIRST_CONVOLUTION]
    inputs = first.shape[1] if first.ndim == 4 else None
    require_plain_weights(weights, inputs, latent_channels(description), where, labels=labels)


def own_size(description: "Description") -> tuple[int, int]:
    """Give width and height, in pixels, of the pictures that the UNet was trained to draw."""
    sample = description.components["unet"].get("sample_size") or 64
    height, width = (sample, sample) if isinstance(sample, int) else sample
    factor = shrinking(description)
    return width * factor, height * factor


def build_text_encoder(checkpoint: "Checkpoint", dtype: torch.dtype) -> TextEncoder:
    """Build the one text encoder of 1.x and 2.x, on CPU, with its tokenizer."""
    network = build_tower(checkpoint, "text_encoder", dtype)
    return TextEncoder(build_tokenizer(checkpoint, "tokenizer"), network)
