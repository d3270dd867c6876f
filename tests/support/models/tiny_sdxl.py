"""A random Stable Diffusion XL pipeline of a few thousand weights, written by diffusers itself."""

from pathlib import Path
from typing import Any

from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import nn
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from support.models.tiny_models import Size, clip_config, randomise, tiny_tokenizer, tiny_vae
from support.models.written import written_once

WIDTHS = (8, 12)
"""Widths of the two text encoders; they differ, so that no exchange goes unseen."""
_TIME = 4


def tiny_sdxl_unet(
    blocks: tuple[int, ...] = (4, 8, 8),
    sample_size: int = 8,
    *,
    layers: int = 2,
    transformers: tuple[int, ...] = (1, 2, 3),
) -> nn.Module:
    return UNet2DConditionModel(
        sample_size=sample_size,
        block_out_channels=blocks,
        layers_per_block=layers,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=transformers,
        attention_head_dim=(1, 2, 4),
        cross_attention_dim=sum(WIDTHS),
        norm_num_groups=2,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=_TIME,
        projection_class_embeddings_input_dim=6 * _TIME + WIDTHS[1],
    )


def tiny_towers(vocab_size: int) -> tuple[nn.Module, nn.Module]:
    configs = [
        clip_config(WIDTHS[0], vocab_size, "quick_gelu", vocab_size - 1),
        clip_config(WIDTHS[1], vocab_size, "gelu", 0, layers=3),
    ]
    return CLIPTextModel(configs[0]), CLIPTextModelWithProjection(configs[1])


def tiny_tokenizers(folder: Path) -> tuple[CLIPTokenizer, CLIPTokenizer]:
    """The second pads with `!`, as that of SDXL does."""
    first = tiny_tokenizer(folder)
    second = CLIPTokenizer.from_pretrained(folder, model_max_length=77, pad_token="!")
    return first, second


@written_once
def write_sdxl(
    folder: Path, parts: dict[str, Any] | None = None, *, whole: bool = False, **settings: object
) -> Path:
    """Write it; `parts` replace the ones made here, `settings` are the scheduler's.

    Args:
        whole: with as many layers in a block as the published model has; else with fewer, which
            are built and asked in less than half the time.
    """
    tokenizer, second = tiny_tokenizers(folder.with_name(f"{folder.name}-tokenizer"))
    towers = tiny_towers(len(tokenizer))
    vae = tiny_vae(Size(vae_layers=2 if whole else 1))
    vae.register_to_config(scaling_factor=0.13025, force_upcast=True)
    made: dict[str, Any] = {
        "unet": tiny_sdxl_unet() if whole else tiny_sdxl_unet(layers=1, transformers=(1, 1, 2)),
        "vae": vae,
        "text_encoder": towers[0],
        "text_encoder_2": towers[1],
    }
    for seed, model in enumerate(made.values()):
        randomise(model, seed)
    scheduler: dict[str, Any] = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "steps_offset": 1,
        "timestep_spacing": "leading",
        **settings,
    }
    StableDiffusionXLPipeline(
        **{**made, **(parts or {})},
        tokenizer=tokenizer,
        tokenizer_2=second,
        scheduler=EulerDiscreteScheduler(**scheduler),
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder
