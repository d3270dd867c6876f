"""Random pipelines of flow transformers of a few thousand weights, written by diffusers itself."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from torch import nn
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from support.models.tiny_models import TWO_LEVELS, clip_config, randomise, tiny_tokenizer
from support.models.written import written_once

JOINT = 32
"""Features of T5, to which those of CLIP are filled up."""
WIDTHS = (8, 12)
"""Widths of the two CLIPs; they differ, so that no exchange goes unseen."""
SD3_CONFIG: dict[str, Any] = {
    "sample_size": 8,
    "patch_size": 2,
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "caption_projection_dim": 32,
    "joint_attention_dim": JOINT,
    "pooled_projection_dim": sum(WIDTHS),
    "pos_embed_max_size": 16,
}
SD3_KINDS: dict[str, dict[str, Any]] = {
    "sd3": {},
    "sd35_medium": {"qk_norm": "rms_norm", "dual_attention_layers": (0,)},
    "sd35_large": {"qk_norm": "rms_norm"},
}


def tiny_flow_vae(scaling: float, shift: float) -> nn.Module:
    """Two levels, no quant convolutions, as the 16-channel one of SD3 and FLUX."""
    return AutoencoderKL(
        **TWO_LEVELS,
        scaling_factor=scaling,
        shift_factor=shift,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def tiny_sd3(**settings: Any) -> nn.Module:  # noqa: ANN401
    return SD3Transformer2DModel(**{**SD3_CONFIG, **settings})


def tiny_t5(vocab_size: int) -> nn.Module:
    config = T5Config(
        vocab_size=vocab_size, d_model=JOINT, d_kv=8, d_ff=16, num_layers=1, num_heads=2
    )
    return T5EncoderModel(config)


def tiny_t5_tokenizer() -> T5TokenizerFast:
    """Letters, digits and the mark of a word's beginning."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    return T5TokenizerFast(vocab=pieces, extra_ids=0)


def listening(network: nn.Module, seed: int) -> nn.Module:
    """Random weights, of which those that read the text are larger, so that prompts matter."""
    randomise(network, seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith(".bias"):
                weight.mul_(0.1)
            if ".norm" in name and "linear" not in name:
                weight.add_(1.0)
            if "context_embedder" in name or "text_embedder" in name or ".add_v_proj" in name:
                weight.mul_(4)
    return network


@written_once
def write_sd3(folder: Path, kind: str = "sd3", *, t5: bool = True, **settings: Any) -> Path:  # noqa: ANN401
    """Write a pipeline; `settings` are the scheduler's."""
    words = folder.with_name(f"{folder.name}-tokenizer")
    first = tiny_tokenizer(words)
    second = type(first).from_pretrained(words, model_max_length=77, pad_token="!")
    size, third = len(first), tiny_t5_tokenizer()
    towers = [
        CLIPTextModelWithProjection(clip_config(width, size, activation, pad))
        for width, activation, pad in zip(
            WIDTHS, ("quick_gelu", "gelu"), (size - 1, 0), strict=True
        )
    ]
    vae, encoder = tiny_flow_vae(1.5305, 0.0609), tiny_t5(len(third))
    for seed, model in enumerate([*towers, vae, encoder]):
        randomise(model, seed)
    StableDiffusion3Pipeline(
        transformer=listening(tiny_sd3(**SD3_KINDS[kind]), 5),
        vae=vae,
        text_encoder=towers[0],
        text_encoder_2=towers[1],
        text_encoder_3=encoder if t5 else None,
        tokenizer=first,
        tokenizer_2=second,
        tokenizer_3=third if t5 else None,
        scheduler=FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **settings}),
    ).save_pretrained(folder)
    return folder


def tiny_clip(width: int, vocab_size: int) -> nn.Module:
    return CLIPTextModel(clip_config(width, vocab_size, "quick_gelu", vocab_size - 1))


FLUX_CONFIG: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 16,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": JOINT,
    "pooled_projection_dim": WIDTHS[0],
    "axes_dims_rope": (4, 4, 8),
}


def tiny_flux(**settings: Any) -> nn.Module:  # noqa: ANN401
    return FluxTransformer2DModel(**{**FLUX_CONFIG, **settings})


@written_once
def write_flux(folder: Path, kind: str = "flux_dev", **settings: Any) -> Path:  # noqa: ANN401
    """Write a pipeline of FLUX.1; `settings` are the transformer's."""
    first = tiny_tokenizer(folder.with_name(f"{folder.name}-tokenizer"))
    second, dev = tiny_t5_tokenizer(), kind == "flux_dev"
    tower, encoder = tiny_clip(WIDTHS[0], len(first)), tiny_t5(len(second))
    vae = tiny_flow_vae(0.3611, 0.1159)
    for seed, model in enumerate((tower, encoder, vae)):
        randomise(model, seed)
    FluxPipeline(
        transformer=listening(tiny_flux(guidance_embeds=dev, **settings), 5),
        vae=vae,
        text_encoder=tower,
        text_encoder_2=encoder,
        tokenizer=first,
        tokenizer_2=second,
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=3.0 if dev else 1.0, use_dynamic_shifting=dev
        ),
    ).save_pretrained(folder)
    return folder
