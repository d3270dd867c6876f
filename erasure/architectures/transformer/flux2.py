"""FLUX.2 klein: a joint transformer that takes patches of normed latents, s and no pooled text.

Source: `Flux2KleinPipeline` and `Flux2Transformer2DModel` of diffusers.
"""

# B samples, C x h x w latents, L tokens, D text features.

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from erasure.architectures.architecture import Architecture, Part
from erasure.architectures.patch_codec import (
    PATCH,
    build_patch_autoencoder,
    patch_autoencoder_of,
)
from erasure.architectures.text.chat_encoders import user_chat
from erasure.architectures.text.qwen_towers import QwenReader, qwen3_with_head_of, with_prefix
from erasure.architectures.transformer import flow
from erasure.architectures.transformer.exact_times import exact_maker_of
from erasure.architectures.transformer.flow_files import FlowFiles
from erasure.architectures.transformer.names import JOINT_LAYERS
from erasure.architectures.transformer.scopes import (
    JOINT_DEFAULTS,
    JOINT_SCOPES,
    SHARED_HINTS,
    attn,
    single,
)
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.checkpoints.checks.setting_values import ABOVE_ZERO, one_of, require_settings
from erasure.checkpoints.facts.flow_scheduler import (
    check_flow_config,
    flow_schedule_of,
    settle_flow,
)
from erasure.checkpoints.layout import flux, flux2, flux2_vae
from erasure.diffusion.denoiser import TOKENS, Condition
from erasure.diffusion.schedule import RectifiedFlow
from erasure.errors import CheckpointError
from erasure.storage.bare_names import shown

if TYPE_CHECKING:
    from erasure.checkpoints.description import Description

MAIN: Final = flow.MAIN
_KIND: Final = "Flux2Transformer2DModel"
_CODEC: Final = "AutoencoderKLFlux2"
_CHAT: Final = user_chat(512, silent=True)
_READER: Final = QwenReader(_CHAT, layers=(9, 18, 27), padded=True)
"""The layers are those that the pipeline reads."""
_SIDE: Final = 128
"""Latents of the autoencoder a side of the pictures that it was trained to draw."""
_STEPS: Final = 50
"""Steps of the pipeline."""
_CHANNELS: Final = 32
_NEUTRAL: Final = frozenset(
    """patch_size in_channels out_channels num_layers num_single_layers attention_head_dim
    num_attention_heads joint_attention_dim timestep_guidance_channels mlp_ratio axes_dims_rope
    rope_theta eps guidance_embeds""".split()
)
_NEUTRAL_CODEC: Final = frozenset(
    """in_channels out_channels down_block_types up_block_types block_out_channels
    decoder_block_out_channels layers_per_block act_fn latent_channels norm_num_groups sample_size
    force_upcast use_quant_conv use_post_quant_conv mid_block_add_attention batch_norm_eps
    batch_norm_momentum patch_size""".split()
)
_VAE_VALUES: Final = {
    "patch_size": (lambda value: value in ([PATCH] * 2, (PATCH,) * 2), f"[{PATCH}, {PATCH}]"),
}
_DISTILLED: Final = (
    "which was distilled to 4 steps, so what it answers is not the velocity of the flow loss: "
    "retain terms against noise pull it from what it was made to be; FLUX.2-klein-base of the same "
    "size is the model to edit, or train against predictions alone, by the method esd, or by "
    "one whose setting kept is base"
)


@dataclass(frozen=True, slots=True)
class Flux2Denoiser:
    """The transformer as the objectives call it, with s in [0, 1] as its time."""

    network: nn.Module

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, h, w), (B,), conditions of B samples -> velocities eps - x_0, (B, C, h, w)."""
        height, width = x_t.shape[2:]
        tokens = condition.tokens
        velocity: Tensor = self.network(
            hidden_states=x_t.flatten(2).transpose(1, 2),  # (B, h w, C)
            encoder_hidden_states=tokens,
            timestep=t,
            img_ids=_places(1, height, width, 1, x_t),
            txt_ids=_places(1, 1, 1, tokens.shape[1], x_t),
            return_dict=False,
        )[0]
        return velocity.transpose(1, 2).reshape(len(x_t), -1, height, width)


def _places(frames: int, height: int, width: int, length: int, like: Tensor) -> Tensor:
    """(frames height width length, 4): frame, row, column and place in the text of each token."""
    axes = [torch.arange(size, device=like.device) for size in (frames, height, width, length)]
    return torch.cartesian_prod(*axes)


flux2_of = exact_maker_of(_KIND, "time_guidance_embed.time_proj")


def _sample(
    config: Mapping[str, Any], size: tuple[int, int], tokens: int
) -> tuple[Tensor, Tensor, Condition]:
    """Make what the transformer takes of one sample, without values; its prompts have one length
    whatever is asked."""
    number = partial(whole_number, config)
    x_t = torch.empty(1, number("in_channels", MAIN, 128), *size)
    context = torch.empty(1, _CHAT.length, number("joint_attention_dim", MAIN, 15360))
    return x_t, torch.empty(1), Condition({TOKENS: context})


def _check_configs(
    description: "Description", where: str, *, title: str, remark: str = ""
) -> tuple[str, ...]:
    """Refuse a model that is no plain one of the family.

    Raises:
        CheckpointError: see `flow.require_component`, and where it is told its guidance, is given
            more than latents, or listens to other features than the language model gives.
    """
    check = partial(flow.require_component, description, where=where, title=title)
    check(MAIN, kind=_KIND, understood=_NEUTRAL)
    check("vae", kind=_CODEC, understood=_NEUTRAL_CODEC)
    distilled = description.model_index.get("is_distilled")
    if distilled is not None and type(distilled) is not bool:
        raise CheckpointError(
            f"{where} has is_distilled {shown(distilled)} in its index, and true or false must "
            "stand there; correct model_index.json or fetch it again"
        )
    config = description.components[MAIN]
    inputs, taken = whole_number(config, "in_channels", MAIN, 128), _shape(description)[0]
    if inputs != taken or config.get("out_channels") not in (None, taken):
        raise flow.other_latents(where, inputs, taken)
    flow.require_axes(config, 4, where)
    require_settings(config, MAIN, where, {"patch_size": one_of(1), "rope_theta": ABOVE_ZERO})
    require_settings(description.components["vae"], "vae", where, _VAE_VALUES)
    if config.get("guidance_embeds", True):
        raise CheckpointError(
            f"{where} has a transformer that is told its guidance (guidance_embeds), as FLUX.2 dev "
            f"is; {title} is not, so give a model of FLUX.2 klein"
        )
    width = len(_READER.layers) * whole_number(description.components[_TEXT], "hidden_size", _TEXT)
    joint = whole_number(config, "joint_attention_dim", MAIN, 15360)
    flow.require_features(f"a {_TEXT} that gives {width} features", width, joint, where)
    return (f"{where} is {title}, {remark}",) if remark else ()


_TEXT: Final = "text_encoder"


def _factor(description: "Description") -> int:
    """Give how many pixels a side one patch stands for."""
    levels = description.components["vae"].get("block_out_channels", (0,) * 4)
    if not isinstance(levels, list | tuple) or not 0 < len(levels) <= 8:
        raise CheckpointError(
            f"block_out_channels of vae is {str(levels)[:80]}, not a list of 1 to 8 numbers; mend "
            "its config"
        )
    return PATCH * (1 << (len(levels) - 1))


def _shape(
    description: "Description", height: int | None = None, width: int | None = None
) -> tuple[int, int, int]:
    """Give (C, h, w) of the latents of a picture of H x W pixels, or of one of the model's own
    size.

    Raises:
        ConfigError: it cannot be cut into patches.
    """
    channels = whole_number(description.components["vae"], "latent_channels", "the VAE", _CHANNELS)
    side = _factor(description)
    own = _SIDE // PATCH
    if height is None or width is None:
        return channels * PATCH**2, own, own
    flow.require_patches(height, width, side)
    return channels * PATCH**2, height // side, width // side


def shift_of(tokens: int, steps: int) -> float:
    """mu of a picture of so many patches that is drawn in so many steps: straight lines through
    what the makers measured at 10 and at 200 steps.

    Source: `compute_empirical_mu` of diffusers' `Flux2KleinPipeline`.
    """
    many = 0.00016927 * tokens + 0.45666666
    if tokens > 4300:
        return many
    few = 8.73809524e-05 * tokens + 1.89833333
    slope = (many - few) / 190.0
    return slope * steps + (many - 200.0 * slope)


def _shift() -> float:
    """m of the times in training: that of the largest pictures at the pipeline's own steps."""
    return math.exp(shift_of((_SIDE // PATCH) ** 2, _STEPS))


def _schedule(config: Mapping[str, Any]) -> RectifiedFlow:
    """Make the forward process; its times are shifted as in drawing, where the config says so."""
    if check_flow_config(config, "this model")["use_dynamic_shifting"]:
        return RectifiedFlow(shift=_shift())
    return flow_schedule_of(config)


def _describe(config: Mapping[str, Any]) -> str:
    """Tell the times of a complete config in a few words."""
    return f"rectified flow, times shifted by m {_schedule(config).shift:.3g} in training"


def _sampling(config: Mapping[str, Any], steps: int, size: tuple[int, int]) -> Mapping[str, Any]:
    """What the pipeline gives the scheduler beside the steps: even levels down to 1 / steps, and
    the shift by the number of patches and of steps."""
    levels = [1 - n / steps for n in range(steps)]
    return {"sigmas": levels, "mu": shift_of(size[0] * size[1], steps)}


_build_network = partial(flow.build_transformer, build=flux2_of)


def _is_distilled(configs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the pipeline says that it draws without guidance."""
    return bool(configs.get("model_index", {}).get("is_distilled"))


_DISTILLED_TITLE: Final = "FLUX.2 klein, distilled"
_BASE: Final = "FLUX.2 klein base"

FLUX2_KLEIN: Final = Architecture(
    key="flux2_klein",
    title=_BASE,
    pipeline="Flux2KleinPipeline",
    main=MAIN,
    parts=(
        Part(
            component=MAIN,
            title=MAIN,
            prefix=flow.PREFIX,
            build=flux2_of,
            to_original=flux2.to_original,
            to_diffusers=flux2.to_diffusers,
            tidy_original=flux.usual_names,
            signs_original=("img_in.weight", "double_stream_modulation_img.lin.weight"),
            signs_diffusers=("x_embedder.weight", "double_stream_modulation_img.linear.weight"),
        ),
        Part(
            component="vae",
            title="VAE",
            prefix=flow.VAE.prefix,
            aliases=flow.VAE.aliases,
            build=patch_autoencoder_of,
            to_original=flux2_vae.to_original,
            to_diffusers=flux2_vae.to_diffusers,
            tidy_original=flux2_vae.usual_names,
        ),
        Part(
            component=_TEXT,
            title="text encoder",
            prefix=flow.QWEN3,
            aliases=(flow.QWEN3_BEFORE,),
            build=qwen3_with_head_of,
            tidy_diffusers=with_prefix,
            tidy_original=with_prefix,
        ),
    ),
    file_parts=(MAIN,),
    modelspec={"flow": "flux-2-klein-base"},
    implementation="https://github.com/black-forest-labs/flux2",
    files=FlowFiles(),
    first_weight="double_stream_modulation_img.lin.weight",
    suits=lambda configs: not _is_distilled(configs),
    check_configs=partial(_check_configs, title=_BASE),
    build_network=_build_network,
    build_codec=build_patch_autoencoder,
    build_text_encoder=_READER.encoder,
    build_tokenizers=_READER.tokenizers,
    denoiser=Flux2Denoiser,
    schedule=_schedule,
    settle=settle_flow,
    describe_noise=_describe,
    sampling=_sampling,
    step_time=flow.thousandth,
    guidance_kind="true",
    own_guidance=4.0,  # the default of `Flux2KleinPipeline`
    sample=_sample,
    latent_shape=_shape,
    own_size=partial(flow.own_size, side=_SIDE // PATCH, factor=_factor),
    scopes={**JOINT_SCOPES, "single": single, "esd-x": attn},
    scope_defaults=JOINT_DEFAULTS,
    text_readers={"context_embedder.weight": TOKENS},
    scope_hints=SHARED_HINTS,
    layers=JOINT_LAYERS,
)

FLUX2_KLEIN_DISTILLED: Final = replace(
    FLUX2_KLEIN,
    key="flux2_klein_distilled",
    title=_DISTILLED_TITLE,
    modelspec={"flow": "flux-2-klein"},
    suits=_is_distilled,
    check_configs=partial(_check_configs, title=_DISTILLED_TITLE, remark=_DISTILLED),
    guidance_kind="none",
)
