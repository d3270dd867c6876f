"""Stable Diffusion 3 and 3.5: a joint transformer that takes latents as they are, and 1000 s.

Source: `StableDiffusion3Pipeline` and `SD3Transformer2DModel` of diffusers; arXiv:2403.03206.
"""

# B samples, C x h x w latents, L tokens, D text features, P pooled ones.

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from erasure.architectures.architecture import Architecture, Part
from erasure.architectures.autoencoder import build_autoencoder, shrinking
from erasure.architectures.lora_names import LoraNames
from erasure.architectures.text.clip_towers import CLIP_WINDOW, build_tokenizer, build_tower
from erasure.architectures.text.joint_encoders import POOLED, Sd3Text
from erasure.architectures.text.t5_tower import build_t5, build_t5_tokenizer
from erasure.architectures.transformer import flow
from erasure.architectures.transformer.flow_files import FlowFiles
from erasure.architectures.transformer.names import JOINT_LAYERS
from erasure.architectures.transformer.scopes import (
    JOINT_DEFAULTS,
    JOINT_HINTS,
    JOINT_SCOPES,
    TEXT_READERS,
    attn,
    esd_u,
)
from erasure.architectures.unet.stable_diffusion import VAE
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.checkpoints.facts.flow_scheduler import (
    check_flow_config,
    describe_flow,
    dynamic_shift,
    flow_schedule_of,
    settle_flow,
)
from erasure.checkpoints.layout import clip, sd3
from erasure.diffusion.denoiser import TOKENS, Condition
from erasure.errors import CheckpointError

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.checkpoints.description import Description

MAIN: Final = flow.MAIN
T5_LENGTH: Final = 256
"""Tokens of T5, as the pipeline's `max_sequence_length`."""
_KIND: Final = "SD3Transformer2DModel"
_PATCH: Final = 2
_NEUTRAL: Final = frozenset(
    """sample_size patch_size in_channels num_layers attention_head_dim num_attention_heads
    joint_attention_dim caption_projection_dim pooled_projection_dim out_channels pos_embed_max_size
    dual_attention_layers qk_norm""".split()
)
_NO_T5: Final = (
    "zeros stand in the place of its tokens, as in diffusers, so prompts are read by CLIP alone, "
    "as long as its window is; a published T5 takes 9.5 GB and reads long prompts and written "
    "words"
)


@dataclass(frozen=True, slots=True)
class Sd3Denoiser:
    """The transformer as the objectives call it, with s in [0, 1] as its time."""

    network: nn.Module

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, h, w), (B,), conditions of B samples -> velocities eps - x_0, (B, C, h, w)."""
        velocity: Tensor = self.network(
            hidden_states=x_t,
            encoder_hidden_states=condition.tokens,
            pooled_projections=condition.named(POOLED).to(x_t.dtype),
            timestep=1000 * t,
            return_dict=False,
        )[0]
        return velocity


def sd3_of(config: Mapping[str, Any]) -> nn.Module:
    """Make the transformer that a config of diffusers describes."""
    from diffusers import SD3Transformer2DModel

    from erasure.architectures.transformer.absent_t5 import count_zeros

    network: nn.Module = SD3Transformer2DModel.from_config(dict(config))
    count_zeros(network)
    return network


def _sample(
    config: Mapping[str, Any], size: tuple[int, int], tokens: int
) -> tuple[Tensor, Tensor, Condition]:
    """Make what the transformer takes of one sample, without values."""
    number = partial(whole_number, config)
    x_t = torch.empty(1, number("in_channels", MAIN, 16), *size)
    context = torch.empty(1, tokens, number("joint_attention_dim", MAIN, 4096))
    pooled = torch.empty(1, number("pooled_projection_dim", MAIN, 2048))
    return x_t, torch.empty(1), Condition({TOKENS: context, POOLED: pooled})


def _prompt_length(description: "Description", window: int, wide: bool) -> int:
    """CLIP's tokens and T5's; the zeros of an absent T5 are one where they are counted."""
    one = wide and "text_encoder_3" not in description.components
    return window + (1 if one else T5_LENGTH)


def _first_tokens(description: "Description") -> int:
    """CLIP's tokens, behind which those of T5 stand or zeros in their place."""
    return whole_number(
        description.components["text_encoder"], "max_position_embeddings", "CLIP", CLIP_WINDOW
    )


def _check_configs(description: "Description", where: str, *, title: str) -> tuple[str, ...]:
    """Refuse a model that is no plain one of the family.

    Raises:
        CheckpointError: see `flow.check_transformer`, and where the text encoders' features do not
            fit what the transformer listens to.
    """
    notes = flow.check_transformer(description, where, kind=_KIND, title=title, understood=_NEUTRAL)
    config, texts = description.components[MAIN], description.components
    if config.get("patch_size", _PATCH) != _PATCH:
        raise CheckpointError(
            f"{where} has a transformer with patch_size {config['patch_size']!r}, and that of "
            f"{title} is {_PATCH}; give the complete base model"
        )
    widths = [
        whole_number(texts[name], "projection_dim", name, 512)
        for name in ("text_encoder", "text_encoder_2")
    ]
    pooled = whole_number(config, "pooled_projection_dim", MAIN, 2048)
    if sum(widths) != pooled:
        raise CheckpointError(
            f"{where} has text encoders that give {sum(widths)} pooled features, and its "
            f"transformer listens to {pooled}; they are of different models: give those that "
            "belong together"
        )
    joint = whole_number(config, "joint_attention_dim", MAIN, 4096)
    if "text_encoder_3" in texts:
        flow.require_width(description, "text_encoder_3", "d_model", joint, where)
    return notes


def own_size(description: "Description") -> tuple[int, int]:
    """Give width and height, in pixels, of the pictures that it was trained to draw."""
    side = whole_number(description.components[MAIN], "sample_size", MAIN, 128)
    return (side * shrinking(description),) * 2


def _build_text_encoder(checkpoint: "Checkpoint", dtype: torch.dtype) -> Sd3Text:
    """Build the text encoders on CPU, with their tokenizers."""
    networks = [build_tower(checkpoint, f"text_encoder{n}", dtype) for n in ("", "_2")]
    if "text_encoder_3" in checkpoint.components:
        networks.append(build_t5(checkpoint, "text_encoder_3", dtype))
    config = checkpoint.description.components[MAIN]
    width = whole_number(config, "joint_attention_dim", MAIN, 4096)
    return Sd3Text(_build_tokenizers(checkpoint), tuple(networks), T5_LENGTH, width)


def _build_tokenizers(checkpoint: "Checkpoint") -> tuple[Any, ...]:
    """Build a tokenizer for each text encoder that is there."""
    made = [build_tokenizer(checkpoint, f"tokenizer{n}") for n in ("", "_2")]
    if "text_encoder_3" in checkpoint.components:
        made.append(build_t5_tokenizer(checkpoint, "tokenizer_3", T5_LENGTH))
    return tuple(made)


_build_network = partial(flow.build_transformer, build=sd3_of)


def _sampling(config: Mapping[str, Any], steps: int, size: tuple[int, int]) -> Mapping[str, Any]:
    """What the pipeline gives the scheduler beside the steps: the shift, where it is dynamic."""
    whole = check_flow_config(config, "this model")
    if not whole["use_dynamic_shifting"]:
        return {}
    return {"mu": dynamic_shift(whole, (size[0] // _PATCH) * (size[1] // _PATCH))}


def never_masked(name: str) -> bool:
    """The table of places: a saved buffer, which no training moves."""
    return name == "pos_embed.pos_embed"


def _is_medium(configs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether it is 3.5-medium, whose first blocks have a second attention."""
    return bool(configs.get(MAIN, {}).get("dual_attention_layers"))


def _is_large(configs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether it is 3.5-large, whose queries and keys are normed."""
    return not _is_medium(configs) and configs.get(MAIN, {}).get("qk_norm") is not None


_TITLE: Final = "Stable Diffusion 3"
_FIRST: Final = "joint_blocks.0.x_block.attn.qkv.weight"

SD3: Final = Architecture(
    key="sd3",
    title=_TITLE,
    pipeline="StableDiffusion3Pipeline",
    main=MAIN,
    parts=(
        Part(
            component=MAIN,
            title=MAIN,
            prefix=flow.PREFIX,
            build=sd3_of,
            to_original=sd3.to_original,
            to_diffusers=sd3.to_diffusers,
            signs_original=("x_embedder.proj.weight", _FIRST),
            signs_diffusers=("pos_embed.proj.weight", "context_embedder.weight"),
        ),
        VAE,
        replace(
            flow.clip_part("text_encoder", "text encoder", "clip_l", projected=True),
            tidy_original=clip.with_unit_projection,
        ),
        flow.clip_part("text_encoder_2", "second text encoder", "clip_g", projected=True),
        flow.t5_part("text_encoder_3", "T5, the third text encoder", optional=_NO_T5),
    ),
    file_parts=(MAIN, "vae"),
    modelspec={"flow": "stable-diffusion-3-m"},
    implementation="https://github.com/Stability-AI/generative-models",
    files=FlowFiles(),
    first_weight=_FIRST,
    check_configs=partial(_check_configs, title=_TITLE),
    build_network=_build_network,
    build_codec=build_autoencoder,
    build_text_encoder=_build_text_encoder,
    build_tokenizers=_build_tokenizers,
    denoiser=Sd3Denoiser,
    schedule=flow_schedule_of,
    settle=settle_flow,
    describe_noise=describe_flow,
    sampling=_sampling,
    step_time=flow.thousandth,
    guidance_kind="true",
    own_guidance=7.0,  # the default of `StableDiffusion3Pipeline`
    sample=_sample,
    prompt_length=_prompt_length,
    first_tokens=_first_tokens,
    latent_shape=partial(flow.latent_shape, patch=_PATCH),
    own_size=own_size,
    scopes={**JOINT_SCOPES, "esd-x": attn, "esd-u": esd_u},
    scope_defaults=JOINT_DEFAULTS,
    text_readers=TEXT_READERS,
    scope_hints=JOINT_HINTS,
    never_masked=never_masked,
    layers=JOINT_LAYERS,
    lora=LoraNames(original=True, layout=sd3.layout_of, module="networks.lora_sd3"),
)

_MEDIUM: Final = "Stable Diffusion 3.5 Medium"
SD35_MEDIUM: Final = replace(
    SD3,
    key="sd35_medium",
    title=_MEDIUM,
    modelspec={"flow": "stable-diffusion-3-5-medium"},
    first_weight="joint_blocks.0.x_block.attn2.qkv.weight",
    suits=_is_medium,
    check_configs=partial(_check_configs, title=_MEDIUM),
)

_LARGE: Final = "Stable Diffusion 3.5 Large"
SD35_LARGE: Final = replace(
    SD3,
    key="sd35_large",
    title=_LARGE,
    modelspec={"flow": "stable-diffusion-3-5-large"},
    first_weight="joint_blocks.0.x_block.attn.ln_q.weight",
    suits=_is_large,
    check_configs=partial(_check_configs, title=_LARGE),
)
