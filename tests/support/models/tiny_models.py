"""Random Stable Diffusion pipelines of a few thousand weights, written by diffusers itself."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from erasure.checkpoints.reading.vocabulary import byte_letters
from support.models.written import written_once

TWO_LEVELS: dict[str, Any] = {
    "block_out_channels": (4, 8),
    "layers_per_block": 1,
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "latent_channels": 4,
    "norm_num_groups": 2,
    "sample_size": 16,
}
"""A small autoencoder of any of diffusers' classes for pictures."""


@dataclass(frozen=True)
class Size:
    """What makes a pipeline SD 1-like, SD 2-like or smaller than either."""

    blocks: tuple[int, ...] = (4, 8, 8, 8)
    layers: int = 2
    vae_blocks: tuple[int, ...] = (4, 4, 8, 8)
    vae_layers: int = 2
    latent_channels: int = 4
    linear: bool = False
    activation: str = "quick_gelu"
    prediction_type: str = "epsilon"


SD1_LIKE = Size(layers=1, vae_layers=1)
SD2_LIKE = replace(SD1_LIKE, linear=True, activation="gelu", prediction_type="v_prediction")
"""As many blocks as the published models have, with half the layers in each."""
SD2_SMALL = Size(
    blocks=(8, 16),
    layers=1,
    vae_blocks=(4, 4, 8),
    vae_layers=1,
    linear=True,
    activation="gelu",
    prediction_type="v_prediction",
)
"""What tells SD 2 from SD 1, in a UNet that answers three times as fast."""
SMALL = Size(blocks=(4, 8), layers=1, vae_layers=1, latent_channels=16)
WIDTH = 8


def tiny_unet(size: Size) -> UNet2DConditionModel:
    last = len(size.blocks) - 1
    down = ["CrossAttnDownBlock2D"] * last + ["DownBlock2D"]
    up = ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * last
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=size.latent_channels,
        out_channels=size.latent_channels,
        block_out_channels=size.blocks,
        layers_per_block=size.layers,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=2,
        use_linear_projection=size.linear,
    )


def tiny_vae(size: Size) -> AutoencoderKL:
    levels = len(size.vae_blocks)
    return AutoencoderKL(
        block_out_channels=size.vae_blocks,
        layers_per_block=size.vae_layers,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=size.latent_channels,
        norm_num_groups=2,
        sample_size=64,
    )


def tiny_text_encoder(size: Size, vocab_size: int) -> CLIPTextModel:
    config = CLIPTextConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=vocab_size,
        max_position_embeddings=77,
        hidden_act=size.activation,
        bos_token_id=vocab_size - 2,
        eos_token_id=vocab_size - 1,
        pad_token_id=vocab_size - 1,
    )
    return CLIPTextModel(config)


def tiny_tokenizer(folder: Path) -> CLIPTokenizer:
    """Letters only; any text is read without error."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = list(byte_letters())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: n for n, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


def randomise(model: nn.Module, seed: int) -> None:
    """Random values everywhere, so that no swap of two weights goes unseen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 10)


@written_once
def write_pipeline(folder: Path, size: Size) -> Path:
    tokenizer = tiny_tokenizer(folder.with_name(f"{folder.name}-tokenizer"))
    parts: dict[str, Any] = {
        "unet": tiny_unet(size),
        "vae": tiny_vae(size),
        "text_encoder": tiny_text_encoder(size, len(tokenizer)),
    }
    for seed, model in enumerate(parts.values()):
        randomise(model, seed)
    StableDiffusionPipeline(
        **parts,
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(
            prediction_type=size.prediction_type, steps_offset=1, clip_sample=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype, name
        assert torch.equal(one[name], other[name]), name


def clip_config(
    width: int, vocab_size: int, activation: str, pad: int, *, layers: int = 2
) -> CLIPTextConfig:
    """One of CLIP's text encoders; its last two tokens begin and end a prompt."""
    return CLIPTextConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        vocab_size=vocab_size,
        max_position_embeddings=77,
        hidden_act=activation,
        bos_token_id=vocab_size - 2,
        eos_token_id=vocab_size - 1,
        pad_token_id=pad,
    )
