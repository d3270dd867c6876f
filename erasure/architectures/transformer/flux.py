"""FLUX.1: a joint transformer that takes patches of latents, s, and dev's guidance as a number.

Source: `FluxPipeline` and `FluxTransformer2DModel` of diffusers.
"""

# B samples, C x h x w latents, L tokens, D text features, P pooled ones.

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from erasure.architectures.architecture import Architecture, Part
from erasure.architectures.autoencoder import build_autoencoder, latent_channels, shrinking
from erasure.architectures.lora_names import LoraNames
from erasure.architectures.text.clip_towers import build_tokenizer, build_tower
from erasure.architectures.text.joint_encoders import POOLED, FluxText
from erasure.architectures.text.t5_tower import build_t5, build_t5_tokenizer
from erasure.architectures.transformer import flow
from erasure.architectures.transformer.exact_times import exact_maker_of
from erasure.architectures.transformer.flow_files import FlowFiles
from erasure.architectures.transformer.names import JOINT_LAYERS
from erasure.architectures.transformer.packing import packed, patch_places, unpacked
from erasure.architectures.transformer.scopes import (
    JOINT_DEFAULTS,
    JOINT_SCOPES,
    SHARED_HINTS,
    TEXT_READERS,
    attn,
    single,
)
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.checkpoints.facts.flow_scheduler import (
    check_flow_config,
    describe_flow,
    dynamic_shift,
    flow_schedule_of,
    settle_flow,
)
from erasure.checkpoints.layout import flux
from erasure.diffusion.denoiser import GUIDANCE, TOKENS, Condition
from erasure.errors import CheckpointError

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.checkpoints.description import Description

MAIN: Final = flow.MAIN
_KIND: Final = "FluxTransformer2DModel"
_PATCH: Final = 2
_SIDE: Final = 128
"""Latents a side of the pictures that it was trained to draw, as the pipeline has it."""
_NEUTRAL: Final = frozenset(
    """patch_size in_channels out_channels num_layers num_single_layers attention_head_dim
    num_attention_heads joint_attention_dim pooled_projection_dim guidance_embeds
    axes_dims_rope""".split()
)
_INPUTS: Final = {
    # How many times the packed latents it is given: what it is for.
    2: "a Depth or Canny model, which is given a picture of depth or edges too",
    6: "a Fill model, which is given a mask and a masked picture too",
}
_DISTILLED: Final = (
    "was distilled to 4 steps, so what it answers is not the velocity of the flow loss: retain "
    "terms against noise pull it from what it was made to be; FLUX.1-dev is the model to edit, or "
    "train against predictions alone, by the method esd, or by one whose setting kept is base"
)


@dataclass(frozen=True, slots=True)
class FluxDenoiser:
    """The transformer as the objectives call it, with s in [0, 1] as its time.

    A model that is told its guidance is told 1 where the condition does not say, as erasers train
    at it.
    """

    network: nn.Module

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, h, w), (B,), conditions of B samples -> velocities eps - x_0, (B, C, h, w)."""
        height, width = x_t.shape[2:]
        tokens = condition.tokens
        network: Any = self.network
        guidance = None
        if network.config.guidance_embeds:
            guidance = condition.tensors.get(GUIDANCE)
            guidance = torch.ones_like(t) if guidance is None else guidance.to(t)
        velocity: Tensor = network(
            hidden_states=packed(x_t),
            encoder_hidden_states=tokens,
            pooled_projections=condition.named(POOLED).to(x_t.dtype),
            timestep=t,
            img_ids=patch_places(height, width, x_t),
            txt_ids=x_t.new_zeros(tokens.shape[1], 3),
            guidance=guidance,
            return_dict=False,
        )[0]
        return unpacked(velocity, height, width)


flux_of = exact_maker_of(_KIND, "time_text_embed")


def _sample(
    config: Mapping[str, Any], size: tuple[int, int], tokens: int, *, length: int
) -> tuple[Tensor, Tensor, Condition]:
    """Make what the transformer takes of one sample, without values; it is told T5's tokens."""
    number = partial(whole_number, config)
    x_t = torch.empty(1, number("in_channels", MAIN, 64) // _PATCH**2, *size)
    context = torch.empty(1, length, number("joint_attention_dim", MAIN, 4096))
    pooled = torch.empty(1, number("pooled_projection_dim", MAIN, 768))
    return x_t, torch.empty(1), Condition({TOKENS: context, POOLED: pooled})


def _check_configs(
    description: "Description", where: str, *, title: str, remark: str = ""
) -> tuple[str, ...]:
    """Refuse a model that is no plain one of the family.

    Raises:
        CheckpointError: see `flow.check_transformer`, and where it is given more than latents, or
            the text encoders' features do not fit what the transformer listens to.
    """
    notes = flow.check_transformer(description, where, kind=_KIND, title=title, understood=_NEUTRAL)
    config = description.components[MAIN]
    inputs = whole_number(config, "in_channels", MAIN, 64)
    taken = latent_channels(description) * _PATCH**2
    if inputs != taken or config.get("out_channels") not in (None, taken):
        kind = _INPUTS.get(inputs // taken, "a transformer of other latents")
        raise flow.other_latents(where, inputs, taken, network=kind)
    if config.get("patch_size", 1) != 1:
        raise CheckpointError(
            f"{where} has a transformer with patch_size {config['patch_size']!r}, and that of "
            f"{title} is 1, as its latents are packed before; give the complete base model"
        )
    flow.require_axes(config, 3, where)
    pooled = whole_number(config, "pooled_projection_dim", MAIN, 768)
    joint = whole_number(config, "joint_attention_dim", MAIN, 4096)
    flow.require_width(description, "text_encoder", "hidden_size", pooled, where)
    flow.require_width(description, "text_encoder_2", "d_model", joint, where)
    return (*notes, f"{where} is {title}, which {remark}") if remark else notes


def _build_tokenizers(checkpoint: "Checkpoint", *, length: int) -> tuple[Any, ...]:
    """Build the tokenizers of CLIP and of T5."""
    return (
        build_tokenizer(checkpoint, "tokenizer"),
        build_t5_tokenizer(checkpoint, "tokenizer_2", length),
    )


def _build_text_encoder(checkpoint: "Checkpoint", dtype: torch.dtype, *, length: int) -> FluxText:
    """Build both text encoders on CPU, with their tokenizers."""
    networks = (
        build_tower(checkpoint, "text_encoder", dtype),
        build_t5(checkpoint, "text_encoder_2", dtype),
    )
    return FluxText(_build_tokenizers(checkpoint, length=length), networks)


_build_network = partial(flow.build_transformer, build=flux_of)


def _sampling(config: Mapping[str, Any], steps: int, size: tuple[int, int]) -> Mapping[str, Any]:
    """What the pipeline gives the scheduler beside the steps: even levels down to 1 / steps, and
    the shift by the number of patches."""
    whole = check_flow_config(config, "this model")
    levels = [1 - n / steps for n in range(steps)]
    tokens = (size[0] // _PATCH) * (size[1] // _PATCH)
    return {"sigmas": levels, "mu": dynamic_shift(whole, tokens)}


def _is_dev(configs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether it is told its guidance."""
    return bool(configs.get(MAIN, {}).get("guidance_embeds"))


def _of_length(length: int) -> dict[str, Any]:
    """The fields of the family that depend on how many tokens T5 reads."""
    return {
        "build_text_encoder": partial(_build_text_encoder, length=length),
        "build_tokenizers": partial(_build_tokenizers, length=length),
        "sample": partial(_sample, length=length),
    }


_TITLE: Final = "FLUX.1 dev"
_FIRST: Final = "double_blocks.0.img_attn.qkv.weight"

FLUX_DEV: Final = Architecture(
    key="flux_dev",
    title=_TITLE,
    pipeline="FluxPipeline",
    main=MAIN,
    parts=(
        Part(
            component=MAIN,
            title=MAIN,
            prefix=flow.PREFIX,
            build=flux_of,
            to_original=flux.to_original,
            to_diffusers=flux.to_diffusers,
            tidy_original=flux.usual_names,
            signs_original=("img_in.weight", _FIRST),
            signs_diffusers=("x_embedder.weight", "single_transformer_blocks.0.proj_mlp.weight"),
        ),
        flow.VAE,
        flow.clip_part("text_encoder", "text encoder", "clip_l", projected=False),
        flow.t5_part("text_encoder_2", "T5, the second text encoder"),
    ),
    file_parts=(MAIN,),
    modelspec={"flow": "flux-1-dev"},
    implementation="https://github.com/black-forest-labs/flux",
    files=FlowFiles(),
    first_weight="guidance_in.in_layer.weight",
    suits=_is_dev,
    check_configs=partial(_check_configs, title=_TITLE),
    build_network=_build_network,
    build_codec=build_autoencoder,
    denoiser=FluxDenoiser,
    schedule=flow_schedule_of,
    settle=settle_flow,
    describe_noise=describe_flow,
    sampling=_sampling,
    step_time=flow.thousandth,
    guidance_kind="embedded",
    own_guidance=3.5,  # the default of `FluxPipeline`
    latent_shape=partial(flow.latent_shape, patch=_PATCH),
    own_size=partial(flow.own_size, side=_SIDE, factor=shrinking),
    scopes={**JOINT_SCOPES, "single": single, "esd-x": attn},
    scope_defaults=JOINT_DEFAULTS,
    text_readers=TEXT_READERS,
    scope_hints=SHARED_HINTS,
    layers=JOINT_LAYERS,
    lora=LoraNames(
        original=True,
        layout=flux.layout_of,
        version={"flow": "flux1"},
        module="networks.lora_flux",
    ),
    **_of_length(512),
)

_SCHNELL: Final = "FLUX.1 schnell"
FLUX_SCHNELL: Final = replace(
    FLUX_DEV,
    key="flux_schnell",
    title=_SCHNELL,
    modelspec={"flow": "flux-1-schnell"},
    first_weight=_FIRST,
    suits=lambda configs: True,  # dev is asked first
    check_configs=partial(_check_configs, title=_SCHNELL, remark=_DISTILLED),
    guidance_kind="none",
    **_of_length(256),
)
