"""Z-Image: one stream of text and picture, which is told 1 - s and answers x_0 - eps.

Source: `ZImagePipeline` and `ZImageTransformer2DModel` of diffusers.
"""

# B samples, C x h x w latents, L tokens, D text features.

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from erasure.architectures.architecture import Architecture, Part
from erasure.architectures.autoencoder import build_autoencoder, latent_channels, shrinking
from erasure.architectures.loading import maker_of
from erasure.architectures.text.chat_encoders import ATTENDED, user_chat
from erasure.architectures.text.qwen_towers import QwenReader, qwen3_of, without_prefix
from erasure.architectures.transformer import flow
from erasure.architectures.transformer.flow_files import FlowFiles
from erasure.architectures.transformer.names import JOINT_LAYERS
from erasure.architectures.transformer.scopes import (
    SHARED_HINTS,
    attn,
    feed_forward,
    full,
    keys_and_values,
    modulation,
    text_in,
)
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.checkpoints.checks.setting_values import (
    ABOVE_ZERO,
    SWITCH,
    axes,
    counts,
    require_settings,
)
from erasure.checkpoints.facts.flow_scheduler import (
    check_flow_config,
    describe_flow,
    dynamic_shift,
    flow_schedule_of,
    settle_flow,
)
from erasure.checkpoints.layout import z_image
from erasure.diffusion.denoiser import TOKENS, Condition
from erasure.errors import CheckpointError

if TYPE_CHECKING:
    from erasure.checkpoints.description import Description

MAIN: Final = flow.MAIN
_KIND: Final = "ZImageTransformer2DModel"
_TEXT: Final = "text_encoder"
_PATCH: Final = 2
_CHAT: Final = user_chat(512, silent=False)
_READER: Final = QwenReader(_CHAT, layers=(-2,), padded=False)
_SIDE: Final = 1024
"""Pixels a side of the pictures that the pipeline draws by itself."""
_NEUTRAL: Final = frozenset(
    """in_channels dim n_layers n_refiner_layers n_heads n_kv_heads norm_eps qk_norm cap_feat_dim
    rope_theta t_scale axes_dims axes_lens all_patch_size all_f_patch_size""".split()
)
_VALUES: Final = {
    "axes_lens": counts(3),
    "qk_norm": SWITCH,
    "rope_theta": ABOVE_ZERO,
    "t_scale": ABOVE_ZERO,
}
_ONE_STREAM: Final = (
    "picture and text share all weights of the attention in this model, and there is no "
    "cross-attention: take 'text-in' for the layers that read the text alone, 'kv' for all keys "
    "and values, or 'attn'"
)
_ONE_KIND: Final = "all blocks of this model are of one kind: take 'single' or 'full'"
_TURBO: Final = (
    "Z-Image-Turbo has the same configs and was distilled to 8 steps, which no file says: retain "
    "terms against noise would pull it from what it was made to be, so give Z-Image, or train "
    "against predictions alone, by the method esd, or by one whose setting kept is base"
)


@dataclass(frozen=True, slots=True)
class ZImageDenoiser:
    """The transformer as the objectives call it, with s in [0, 1] as its time."""

    network: nn.Module

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, h, w), (B,), conditions of B samples -> velocities eps - x_0, (B, C, h, w)."""
        answers = self.network(
            list(x_t[:, :, None]), 1 - t, list(_words(condition)), return_dict=False
        )[0]
        return -torch.stack(answers)[:, :, 0]


def _words(condition: Condition) -> tuple[Tensor, ...]:
    """The features of each prompt's words, (L_i, D); all tokens where none is marked."""
    marks = condition.tensors.get(ATTENDED)
    if marks is None:
        return condition.tokens.unbind()
    counts = marks.sum(1).tolist()  # words come first
    return tuple(row[:n] for row, n in zip(condition.tokens, counts, strict=True))


z_image_of = maker_of(_KIND)


def _sample(
    config: Mapping[str, Any], size: tuple[int, int], tokens: int
) -> tuple[Tensor, Tensor, Condition]:
    """Make what the transformer takes of one sample, without values; its prompt is a long one."""
    number = partial(whole_number, config)
    x_t = torch.empty(1, number("in_channels", MAIN, 16), *size)
    context = torch.empty(1, _CHAT.length, number("cap_feat_dim", MAIN, 2560))
    return x_t, torch.empty(1), Condition({TOKENS: context})


def _check_configs(description: "Description", where: str) -> tuple[str, ...]:
    """Refuse a model that is no plain one of the family.

    Raises:
        CheckpointError: see `flow.check_transformer`, and where the latents are others, or it
            listens to other features than the language model gives.
    """
    notes = flow.check_transformer(
        description, where, kind=_KIND, title=_TITLE, understood=_NEUTRAL
    )
    config = description.components[MAIN]
    for name, size in (("all_patch_size", _PATCH), ("all_f_patch_size", 1)):
        if config.get(name, [size]) not in ([size], (size,)):
            raise CheckpointError(
                f"{where} has a transformer with {name} {str(config[name])[:80]}, and that of "
                f"{_TITLE} is [{size}]; give the complete base model"
            )
    features = whole_number(config, "dim", MAIN, 3840) // whole_number(config, "n_heads", MAIN, 30)
    require_settings(config, MAIN, where, {**_VALUES, "axes_dims": axes(3, features)})
    inputs, taken = whole_number(config, "in_channels", MAIN, 16), latent_channels(description)
    if inputs != taken:
        raise CheckpointError(
            f"{where} has a transformer of {inputs} channels and a VAE of {taken}; they are of "
            "different models: give those that belong together"
        )
    listened = whole_number(config, "cap_feat_dim", MAIN, 2560)
    flow.require_width(description, _TEXT, "hidden_size", listened, where)
    return (*notes, f"{where} is {_TITLE}; {_TURBO}")


def _own_size(description: "Description") -> tuple[int, int]:
    """Give width and height, in pixels, of the pictures that it was trained to draw; small models
    have fewer places for patches."""
    _, rows, columns = description.components[MAIN].get("axes_lens", (1024, 512, 512))
    places = min(rows, columns) * _PATCH * shrinking(description)
    return (min(_SIDE, places),) * 2


def _sampling(config: Mapping[str, Any], steps: int, size: tuple[int, int]) -> Mapping[str, Any]:
    """What the pipeline gives the scheduler beside the steps: even levels down to 1 / steps, and
    the shift by the number of patches, which counts where it is dynamic."""
    whole = check_flow_config(config, "this model")
    levels = torch.linspace(1.0, 1 / steps, steps).tolist()
    return {
        "sigmas": levels,
        "mu": dynamic_shift(whole, (size[0] // _PATCH) * (size[1] // _PATCH)),
    }


_build_network = partial(flow.build_transformer, build=z_image_of)


def never_masked(name: str) -> bool:
    """The tokens that fill up picture and text: they are no layer's weights."""
    return name in ("x_pad_token", "cap_pad_token")


def _single(name: str) -> bool:
    """The blocks in which picture and text share their weights."""
    return name.startswith("layers.")


_TITLE: Final = "Z-Image"

Z_IMAGE: Final = Architecture(
    key="z_image",
    title=_TITLE,
    pipeline="ZImagePipeline",
    main=MAIN,
    parts=(
        Part(
            component=MAIN,
            title=MAIN,
            prefix=flow.PREFIX,
            build=z_image_of,
            to_original=z_image.to_original,
            to_diffusers=z_image.to_diffusers,
            tidy_original=z_image.used,
            signs_original=("cap_pad_token", "layers.0.attention.qkv.weight"),
            signs_diffusers=("cap_pad_token", "layers.0.attention.to_q.weight"),
        ),
        flow.VAE,
        Part(
            component=_TEXT,
            title="text encoder",
            prefix=flow.QWEN3,
            aliases=(flow.QWEN3_BEFORE,),
            build=qwen3_of,
            tidy_diffusers=without_prefix,
            tidy_original=without_prefix,
        ),
    ),
    file_parts=(MAIN,),
    modelspec={"flow": "z-image"},
    implementation="https://github.com/Tongyi-MAI/Z-Image",
    files=FlowFiles(),
    first_weight="cap_pad_token",
    check_configs=_check_configs,
    build_network=_build_network,
    build_codec=build_autoencoder,
    build_text_encoder=_READER.encoder,
    build_tokenizers=_READER.tokenizers,
    denoiser=ZImageDenoiser,
    schedule=flow_schedule_of,
    settle=settle_flow,
    describe_noise=describe_flow,
    sampling=_sampling,
    step_time=flow.thousandth,
    guidance_kind="true",
    own_guidance=6.0,  # the 5 of `ZImagePipeline`, which counts 0 where others count 1
    sample=_sample,
    latent_shape=partial(flow.latent_shape, patch=_PATCH),
    own_size=_own_size,
    scopes={
        "full": full,
        "attn": attn,
        "kv": keys_and_values,
        "ff": feed_forward,
        "modulation": modulation,
        "single": _single,
        "text-in": text_in,
        "esd-x": attn,
    },
    scope_defaults={"xattn": "attn", "xattn-kv": "kv"},
    scope_hints={
        **dict.fromkeys((*SHARED_HINTS, "text-attn"), _ONE_STREAM),
        "double": _ONE_KIND,
    },
    never_masked=never_masked,
    layers=JOINT_LAYERS,
)
