"""Random pipelines of transformers that read a language model, written by diffusers itself."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from torch import nn
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2TokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
)

from erasure.checkpoints.reading.vocabulary import byte_letters
from support.models.tiny_flow import tiny_flow_vae
from support.models.tiny_models import TWO_LEVELS, randomise
from support.models.written import written_once

WIDTH = 8
"""Features of the language model."""
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"
)
"""What Qwen3's template does to a message of a user, without tools and thoughts of before."""
FLUX2_CONFIG: dict[str, Any] = {
    "in_channels": 16,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 3 * WIDTH,
    "axes_dims_rope": (4, 4, 4, 4),
    "guidance_embeds": False,
}


def tiny_qwen_tokenizer(template: str = TEMPLATE) -> Qwen2TokenizerFast:
    """Make a tokenizer that knows single bytes and the marks of a chat."""
    vocabulary = {token: n for n, token in enumerate([*byte_letters(), *SPECIAL])}
    return Qwen2TokenizerFast(
        vocab=vocabulary, merges=[], extra_special_tokens=[*SPECIAL[1:]], chat_template=template
    )


def qwen3_config(layers: int, size: int, **settings: Any) -> Qwen3Config:  # noqa: ANN401
    whole: dict[str, Any] = {
        "vocab_size": size,
        "hidden_size": WIDTH,
        "intermediate_size": 16,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 4,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    return Qwen3Config(**{**whole, **settings})


def tiny_patch_vae() -> nn.Module:
    """Two levels, with statistics that are not those of a fresh one."""
    network = AutoencoderKLFlux2(**TWO_LEVELS)
    randomise(network, 2)
    generator = torch.Generator().manual_seed(3)
    network.bn.running_mean.copy_(torch.randn(16, generator=generator) / 2)
    network.bn.running_var.copy_(torch.rand(16, generator=generator) + 0.5)
    return network


def heard(network: nn.Module, seed: int, readers: tuple[str, ...]) -> nn.Module:
    """Random weights, of which those that read the text are larger, so that prompts matter."""
    randomise(network, seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() == 1 and "norm" in name:
                weight.add_(1.0)
            if any(reader in name for reader in readers):
                weight.mul_(6)
    return network


@written_once
def write_flux2(folder: Path, *, distilled: bool = False, tied: bool = True) -> Path:
    """Write a pipeline of FLUX.2 klein."""
    tokenizer = tiny_qwen_tokenizer()
    encoder = Qwen3ForCausalLM(qwen3_config(28, len(tokenizer), tie_word_embeddings=tied))
    heard(encoder, 1, ("embed_tokens",))
    Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=tiny_patch_vae(),
        text_encoder=encoder,
        tokenizer=tokenizer,
        transformer=heard(
            Flux2Transformer2DModel(**FLUX2_CONFIG), 5, ("context_embedder", "add_v_proj")
        ),
        is_distilled=distilled,
    ).save_pretrained(folder)
    return folder


Z_IMAGE_CONFIG: dict[str, Any] = {
    "in_channels": 4,
    "dim": 32,
    "n_layers": 2,
    "n_refiner_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 2,
    "cap_feat_dim": WIDTH,
    "axes_dims": [8, 4, 4],
    "axes_lens": [1024, 32, 32],
}


@written_once
def write_z_image(folder: Path) -> Path:
    """Write a pipeline of Z-Image."""
    tokenizer = tiny_qwen_tokenizer()
    encoder, vae = Qwen3Model(qwen3_config(3, len(tokenizer))), tiny_flow_vae(0.3611, 0.1159)
    heard(encoder, 1, ("embed_tokens",))
    randomise(vae, 2)
    ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        transformer=heard(ZImageTransformer2DModel(**Z_IMAGE_CONFIG), 5, ("cap_embedder.1",)),
    ).save_pretrained(folder)
    return folder


QWEN_IMAGE_CONFIG: dict[str, Any] = {
    "in_channels": 16,
    "out_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 3,
    "joint_attention_dim": 2 * WIDTH,
    "axes_dims_rope": (8, 4, 4),
}


def tiny_qwen_vl(size: int) -> nn.Module:
    """The language model of Qwen-Image, with its half for pictures, which is never asked."""
    text = {
        "vocab_size": size,
        "hidden_size": 2 * WIDTH,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 2048,
        "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2], "rope_type": "default"},
        "bos_token_id": None,
        "eos_token_id": None,
    }
    vision = {
        "depth": 1,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_heads": 2,
        "out_hidden_size": 2 * WIDTH,
        "fullatt_block_indexes": [0],
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=3,
        video_token_id=4,
        vision_start_token_id=5,
        vision_end_token_id=6,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def tiny_frame_vae() -> nn.Module:
    """Two levels and statistics for each channel."""
    return AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 2],
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[False],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.0, 2.0, 0.5, 1.5],
    )


@written_once
def write_qwen_image(folder: Path) -> Path:
    """Write a pipeline of Qwen-Image."""
    tokenizer = tiny_qwen_tokenizer()
    vae = heard(tiny_frame_vae(), 2, ())
    with torch.no_grad():
        for name, weight in vae.named_parameters():
            if name.endswith("gamma"):
                weight.add_(1.0)
    QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True,
            max_shift=0.9,
            max_image_seq_len=8192,
            shift_terminal=0.02,
        ),
        vae=vae,
        text_encoder=heard(tiny_qwen_vl(len(tokenizer)), 1, ("embed_tokens",)),
        tokenizer=tokenizer,
        transformer=heard(
            QwenImageTransformer2DModel(**QWEN_IMAGE_CONFIG), 5, ("txt_in", "add_v_proj")
        ),
    ).save_pretrained(folder)
    return folder
