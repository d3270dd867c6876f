"""Stable Diffusion XL: two text encoders, and a UNet that is told the size of its pictures."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from erasure.architectures.lora_names import LoraNames
from erasure.architectures.text.clip_towers import build_tokenizer, build_tower, projected_clip_of
from erasure.architectures.text.text_encoders import POOLED, TIME_IDS, TextEncoderPair, with_size
from erasure.architectures.unet import stable_diffusion as sd
from erasure.architectures.unet.beta_files import BetaFiles
from erasure.architectures.unet.network import UNetDenoiser, sample
from erasure.architectures.unet.sd1 import SD1
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.diffusion.denoiser import Condition
from erasure.errors import CheckpointError

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint

_TITLE: Final = "Stable Diffusion XL"


def _sample(
    config: Mapping[str, Any], size: tuple[int, int], tokens: int
) -> tuple[Tensor, Tensor, Condition]:
    """Make what the UNet takes of one sample, without values."""
    x_t, t, condition = sample(config, size, tokens)
    inputs = whole_number(config, "projection_class_embeddings_input_dim", "the UNet")
    times = whole_number(config, "addition_time_embed_dim", "the UNet")
    if inputs <= 6 * times:
        raise CheckpointError(
            f"the UNet takes {inputs} added features, of which 6 x {times} tell the size, so none "
            "is left for the pooled text; correct the config or fetch it again"
        )
    pooled = torch.empty(1, inputs - 6 * times)
    return x_t, t, condition.having(**{POOLED: pooled, TIME_IDS: torch.empty(1, 6)})


def _build_text_encoder(checkpoint: "Checkpoint", dtype: torch.dtype) -> TextEncoderPair:
    """Build both text encoders on CPU, with their tokenizers."""
    names = ("text_encoder", "text_encoder_2")
    first, second = (build_tower(checkpoint, name, dtype) for name in names)
    return TextEncoderPair(
        (build_tokenizer(checkpoint, "tokenizer"), build_tokenizer(checkpoint, "tokenizer_2")),
        (first, second),
        # Silence means True: so the pipeline's own default has it.
        bool(checkpoint.description.model_index.get("force_zeros_for_empty_prompt", True)),
    )


SDXL: Final = replace(
    SD1,
    key="sdxl",
    title=_TITLE,
    pipeline="StableDiffusionXLPipeline",
    parts=(
        sd.UNET,
        sd.VAE,
        replace(sd.CLIP, prefix="conditioner.embedders.0.transformer."),
        replace(
            sd.OPENCLIP,
            component="text_encoder_2",
            title="second text encoder",
            prefix="conditioner.embedders.1.model.",
            build=projected_clip_of,
        ),
    ),
    modelspec=dict.fromkeys(("epsilon", "v_prediction"), "stable-diffusion-xl-v1-base"),
    files=BetaFiles(comfyui="keys"),
    check_configs=partial(sd.check_configs, title=_TITLE, addition="text_time", statistics=True),
    check_weights=partial(sd.check_weights, labels=True),
    build_text_encoder=_build_text_encoder,
    denoiser=partial(UNetDenoiser, added=(POOLED, TIME_IDS)),
    sample=_sample,
    with_size=with_size,
    one_size=True,
    lora=LoraNames(
        original=True,
        text={"text_encoder": ("lora_te1",), "text_encoder_2": ("lora_te2",)},
        version=dict.fromkeys(("epsilon", "v_prediction"), "sdxl_base_v1-0"),
    ),
)
