"""Qwen-Image: a joint transformer of double blocks alone, told patches of latents, and s.

Source: `QwenImagePipeline` and `QwenImageTransformer2DModel` of diffusers.
"""

# B samples, C x h x w latents, L tokens, D text features.

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from erasure.architectures.architecture import Architecture, Part
from erasure.architectures.frame_codec import build_frame_autoencoder, frame_autoencoder_of
from erasure.architectures.text.chat_encoders import ATTENDED, described_chat
from erasure.architectures.text.qwen_towers import QwenReader, qwen_vl_of, visual_names
from erasure.architectures.transformer import flow
from erasure.architectures.transformer.exact_times import exact_maker_of
from erasure.architectures.transformer.flow_files import FlowFiles
from erasure.architectures.transformer.names import JOINT_LAYERS
from erasure.architectures.transformer.packing import packed, unpacked
from erasure.architectures.transformer.scopes import JOINT_DEFAULTS, JOINT_HINTS, JOINT_SCOPES, attn
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.checkpoints.checks.setting_values import one_of, require_settings
from erasure.checkpoints.facts.flow_scheduler import (
    check_flow_config,
    describe_flow,
    dynamic_shift,
    flow_schedule_of,
    settle_flow,
)
from erasure.diffusion.data.latent_scale import is_number
from erasure.diffusion.denoiser import TOKENS, Condition
from erasure.errors import CheckpointError
from erasure.storage.bare_names import shown

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.checkpoints.description import Description

MAIN: Final = flow.MAIN
_KIND: Final = "QwenImageTransformer2DModel"
_CODEC: Final = "AutoencoderKLQwenImage"
_TEXT: Final = "text_encoder"
_PATCH: Final = 2
_CHAT: Final = described_chat(512, 34)
_READER: Final = QwenReader(_CHAT, layers=(-1,), padded=False)
_SIDE: Final = 128
"""Latents a side of the pictures that it was trained to draw, as the pipeline has it."""
_NEUTRAL: Final = frozenset(
    """patch_size in_channels out_channels num_layers attention_head_dim num_attention_heads
    joint_attention_dim axes_dims_rope guidance_embeds pooled_projection_dim""".split()
)
_NEUTRAL_CODEC: Final = frozenset(
    """base_dim z_dim dim_mult num_res_blocks attn_scales temperal_downsample dropout input_channels
    latents_mean latents_std""".split()
)


@dataclass(frozen=True, slots=True)
class QwenImageDenoiser:
    """The transformer as the objectives call it, with s in [0, 1] as its time."""

    network: nn.Module

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, h, w), (B,), conditions of B samples -> velocities eps - x_0, (B, C, h, w)."""
        height, width = x_t.shape[2:]
        tokens, marks = _words(condition)
        velocity: Tensor = self.network(
            hidden_states=packed(x_t),
            encoder_hidden_states=tokens,
            encoder_hidden_states_mask=marks,
            timestep=t,
            img_shapes=[[(1, height // _PATCH, width // _PATCH)]] * len(x_t),
            return_dict=False,
        )[0]
        return unpacked(velocity, height, width)


def _words(condition: Condition) -> tuple[Tensor, Tensor | None]:
    """The features up to the last word of the longest prompt, and which of them are words; none is
    marked where all are."""
    marks = condition.tensors.get(ATTENDED)
    if marks is None:
        return condition.tokens, None
    longest = int(marks.sum(1).max())  # words come first
    marks = marks[:, :longest]
    return condition.tokens[:, :longest], None if bool(marks.all()) else marks


def renormed(guided: Tensor, answer: Tensor) -> Tensor:
    """A guided answer whose patches are as long as those of the answer to the prompt, both
    (B, C, h, w).

    Source: `QwenImagePipeline`, after its guidance.
    """
    height, width = guided.shape[2:]
    led, plain = packed(guided), packed(answer)
    length = torch.norm(plain, dim=-1, keepdim=True) / torch.norm(led, dim=-1, keepdim=True)
    return unpacked(led * length, height, width)


qwen_image_of = exact_maker_of(_KIND, "time_text_embed", factor=1.0)  # multiplied within


def _sample(
    config: Mapping[str, Any], size: tuple[int, int], tokens: int
) -> tuple[Tensor, Tensor, Condition]:
    """Make what the transformer takes of one sample, without values; its prompt is a long one."""
    number = partial(whole_number, config)
    x_t = torch.empty(1, number("in_channels", MAIN, 64) // _PATCH**2, *size)
    length = _CHAT.length - _CHAT.dropped
    context = torch.empty(1, length, number("joint_attention_dim", MAIN, 3584))
    return x_t, torch.empty(1), Condition({TOKENS: context})


def _check_configs(description: "Description", where: str) -> tuple[str, ...]:
    """Refuse a model that is no plain one of the family.

    Raises:
        CheckpointError: see `flow.require_component`, and where it is told its guidance, is given
            more than latents, or listens to other features than the language model gives.
    """
    check = partial(flow.require_component, description, where=where, title=_TITLE)
    check(MAIN, kind=_KIND, understood=_NEUTRAL)
    check("vae", kind=_CODEC, understood=_NEUTRAL_CODEC)
    config, channels = description.components[MAIN], _channels(description)
    _factor(description)
    _require_statistics(description.components["vae"], channels, where)
    inputs = whole_number(config, "in_channels", MAIN, 64)
    if inputs != channels * _PATCH**2 or config.get("out_channels", 16) != channels:
        raise flow.other_latents(where, inputs, channels * _PATCH**2)
    flow.require_axes(config, 3, where)
    require_settings(config, MAIN, where, {"patch_size": one_of(_PATCH)})
    if config.get("guidance_embeds"):
        raise CheckpointError(
            f"{where} has a transformer that is told its guidance (guidance_embeds), and that of "
            f"{_TITLE} is not; give the published base model"
        )
    listened = whole_number(config, "joint_attention_dim", MAIN, 3584)
    width = whole_number(_language(description), "hidden_size", _TEXT)
    flow.require_features(f"a {_TEXT} with hidden_size {width}", width, listened, where)
    return ()


def _language(description: "Description") -> Mapping[str, Any]:
    """The config of the text's half of the language model, which older files do not set apart."""
    config = description.components[_TEXT]
    half = config.get("text_config")
    return half if isinstance(half, Mapping) and "hidden_size" in half else config


def _require_statistics(config: Mapping[str, Any], channels: int, where: str) -> None:
    """Raise CheckpointError unless each channel has a mean and a deviation above 0."""
    for name in ("latents_mean", "latents_std"):
        value = config.get(name)
        numbers = value if isinstance(value, list | tuple) and all(map(is_number, value)) else ()
        if len(numbers) != channels or (name == "latents_std" and min(numbers) <= 0):
            raise CheckpointError(
                f"{where} has a VAE with {name} {str(value)[:80]}; {channels} numbers must stand "
                "there, above 0 for latents_std: mend its config"
            )


def _channels(description: "Description") -> int:
    """Give the channels of the latents."""
    return whole_number(description.components["vae"], "z_dim", "the VAE", 16)


def _factor(description: "Description") -> int:
    """Give how many pixels a side one latent stands for, as the pipeline counts it.

    Raises:
        CheckpointError: the config of the VAE says another number than its network has.
    """
    config = description.components["vae"]
    halved = config.get("temperal_downsample", (False, True, True))
    levels = config.get("dim_mult", (1, 2, 4, 4))
    switches = isinstance(halved, list | tuple) and all(type(one) is bool for one in halved)
    if not switches or not 0 < len(halved) <= 8:
        raise CheckpointError(
            f"temperal_downsample of vae is {shown(halved)}, not a list of 1 to 8 entries of true "
            "or false; mend its config"
        )
    if not isinstance(levels, list | tuple) or len(levels) != len(halved) + 1:
        raise CheckpointError(
            f"dim_mult of vae is {shown(levels)}, and beside a temperal_downsample of "
            f"{len(halved)} entries it must be a list of {len(halved) + 1}; mend its config"
        )
    return 1 << len(halved)


def _shape(description: "Description", height: int, width: int) -> tuple[int, int, int]:
    """Give (C, h, w) of the latents of a picture of H x W pixels.

    Raises:
        ConfigError: they cannot be cut into patches.
    """
    factor = _factor(description)
    flow.require_patches(height, width, factor * _PATCH)
    return _channels(description), height // factor, width // factor


def _sampling(config: Mapping[str, Any], steps: int, size: tuple[int, int]) -> Mapping[str, Any]:
    """What the pipeline gives the scheduler beside the steps: even levels down to 1 / steps, and
    the shift by the number of patches."""
    whole = check_flow_config(config, "this model", terminal=True)
    levels = [1 - n / steps for n in range(steps)]
    tokens = (size[0] // _PATCH) * (size[1] // _PATCH)
    return {"sigmas": levels, "mu": dynamic_shift(whole, tokens)}


class _Places(nn.Module):
    """The rotations by place, computed on the device and so that training may follow drawing.

    diffusers keeps what it made for a size, and would keep tensors of inference alone, which no
    backward pass takes.
    """

    def __init__(self, table: Any) -> None:  # noqa: ANN401
        """Make the table of the network anew: it is no buffer, so it was left without values."""
        super().__init__()
        self._table = type(table)(table.theta, table.axes_dim, table.scale_rope)

    def forward(self, *sizes: Any, **more: Any) -> Any:  # noqa: ANN401
        """Make the rotations of a picture and its text."""
        with torch.inference_mode(False), torch.no_grad():
            return self._table(*sizes, **more)


def _build_network(checkpoint: "Checkpoint", dtype: torch.dtype) -> nn.Module:
    """Build the transformer on CPU."""
    network = flow.build_transformer(checkpoint, dtype, build=qwen_image_of)
    network.pos_embed = _Places(network.pos_embed)
    return network


_TITLE: Final = "Qwen-Image"

QWEN_IMAGE: Final = Architecture(
    key="qwen_image",
    title=_TITLE,
    pipeline="QwenImagePipeline",
    main=MAIN,
    parts=(
        Part(
            component=MAIN,
            title=MAIN,
            prefix=flow.PREFIX,
            build=qwen_image_of,
            signs_original=("txt_norm.weight", "transformer_blocks.0.img_mod.1.weight"),
        ),
        Part(
            component="vae",
            title="VAE",
            prefix="first_stage_model.",
            build=frame_autoencoder_of,
        ),
        Part(
            component=_TEXT,
            title="text encoder",
            prefix="text_encoders.qwen25_7b.transformer.",
            build=qwen_vl_of,
            tidy_diffusers=visual_names,
            tidy_original=visual_names,
        ),
    ),
    file_parts=(MAIN,),
    modelspec={"flow": "qwen-image"},
    implementation="https://github.com/QwenLM/Qwen-Image",
    files=FlowFiles(),
    first_weight="txt_norm.weight",
    check_configs=_check_configs,
    build_network=_build_network,
    build_codec=build_frame_autoencoder,
    build_text_encoder=_READER.encoder,
    build_tokenizers=_READER.tokenizers,
    denoiser=QwenImageDenoiser,
    schedule=partial(flow_schedule_of, terminal=True),
    settle=partial(settle_flow, terminal=True),
    describe_noise=describe_flow,
    sampling=_sampling,
    step_time=flow.thousandth,
    guidance_kind="true",
    own_guidance=4.0,  # the default of `QwenImagePipeline`
    after_guidance=renormed,
    sample=_sample,
    latent_shape=_shape,
    own_size=partial(flow.own_size, side=_SIDE, factor=_factor),
    scopes={**JOINT_SCOPES, "esd-x": attn},
    scope_defaults=JOINT_DEFAULTS,
    scope_hints=JOINT_HINTS,
    layers=JOINT_LAYERS,
)
