"""UNets that want more than noise, time and a prompt: refused by what they are.

Such a UNet would be given a part of what it was trained with, or the wrong thing: it must not be
measured, trained or drawn with.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from erasure.checkpoints.reading.settings_of import refuse_unknown_settings
from erasure.errors import CheckpointError

KIND: Final = "UNet2DConditionModel"
FIRST_CONVOLUTION: Final = "input_blocks.0.0.weight"
"""Its name in the original layout; the second axis are the channels that the UNet is given."""

_CHANNELS: Final = {
    # Beside the latents it is given a picture: what it is for.
    5: "a depth-to-image UNet, which is given a depth map too",
    7: "an upscaler's UNet, which is given a small picture too",
    8: "an InstructPix2Pix UNet, which is given the picture to edit too",
    9: "an inpainting UNet, which is given a mask and a masked picture too",
}
_UPSCALER: Final = "an upscaler's UNet, which is told a noise level too"
_UNCLIP: Final = "an unCLIP UNet, which is given the embedding of a picture too"
_LCM: Final = "a latent consistency model (LCM), which is told the guidance too"
_ADAPTER: Final = "a UNet that takes pictures as prompts (IP-Adapter, Kandinsky) or other encoders"
_GLIGEN: Final = "a GLIGEN UNet, which is given boxes too"
_VIDEO: Final = "a video UNet"
_WANTS: Final = {
    # Setting -> what a UNet is where it is set.
    "num_class_embeds": _UPSCALER,
    "class_embed_type": _UNCLIP,
    "time_cond_proj_dim": _LCM,
    "encoder_hid_dim_type": _ADAPTER,
    "encoder_hid_dim": _ADAPTER,
    "dual_cross_attention": "a dual-prompt UNet (Versatile Diffusion)",
}
_NAMES: Final = (
    # The same, told by names of weights in either layout.
    (r"(time_embed|time_embedding)\.cond_proj\.", _LCM),
    (r"(label_emb|class_embedding)\.weight$", _UPSCALER),
    (r"encoder_hid_proj\.|.*\.to_[kv]_ip\.", _ADAPTER),
    (r"position_net\.|.*\.fuser\.", _GLIGEN),
    (r".*(motion_modules|temporal|time_stack|time_mixer)", _VIDEO),
)
_CLASS_NAMES: Final = (r"(label_emb|class_embedding)\.", _UNCLIP)
_NEUTRAL: Final = frozenset(
    # Sizes and arithmetic of the blocks: diffusers builds from them, nothing else is asked for.
    """sample_size in_channels out_channels center_input_sample flip_sin_to_cos freq_shift
    down_block_types mid_block_type up_block_types only_cross_attention block_out_channels
    layers_per_block downsample_padding mid_block_scale_factor dropout act_fn norm_num_groups
    norm_eps cross_attention_dim transformer_layers_per_block reverse_transformer_layers_per_block
    attention_head_dim num_attention_heads use_linear_projection addition_time_embed_dim
    upcast_attention resnet_time_scale_shift resnet_skip_time_act resnet_out_scale_factor
    time_embedding_dim time_embedding_act_fn timestep_post_act conv_in_kernel conv_out_kernel
    projection_class_embeddings_input_dim mid_block_only_cross_attention cross_attention_norm
    addition_embed_type addition_embed_type_num_heads time_embedding_type""".split()
)
_AVERAGING: Final = frozenset(
    # What diffusers notes in the config of averaged weights.
    "decay min_decay inv_gamma power optimization_step update_after_step use_ema_warmup".split()
)


def require_plain_unet(
    config: Mapping[str, Any],
    family: str,
    latents: int,
    where: str,
    *,
    addition: str | None,
) -> None:
    """Refuse a UNet that plain text-to-image of its family cannot feed.

    Args:
        config: its `config.json`.
        family: what a sentence calls its family.
        latents: channels of the VAE's latents.
        where: whose config it is.
        addition: the `addition_embed_type` of its family, such as that of SD XL, which is told the
            size of its pictures; None for a UNet that is told nothing but the prompt.

    Raises:
        CheckpointError: it wants more, or its config holds a setting that is not understood; named.
    """
    kind = config.get("_class_name", KIND)
    if kind != KIND:
        raise CheckpointError(
            f"{where} has a UNet of class {kind!r}; only {KIND} of {family} can be edited"
        )
    _require_channels(config.get("in_channels", 4), config.get("out_channels", 4), latents, where)
    for setting, title in _WANTS.items():
        if config.get(setting):
            _refuse(where, title, f"{setting} is {config[setting]!r}")
    if config.get("attention_type", "default") != "default":
        _refuse(where, _GLIGEN, f"attention_type is {config['attention_type']!r}")
    _require_additions(config, addition, family, where)
    refuse_unknown_settings(KIND, "unet", config, _NEUTRAL | _AVERAGING | set(_WANTS), where)


def require_plain_weights(
    names: Collection[str], inputs: int | None, latents: int, where: str, *, labels: bool
) -> None:
    """The same from the weights of a single file, whose config is only supposed.

    Args:
        names: of the UNet's weights, in either layout, without a prefix.
        inputs: channels of its first convolution; None where it is missing.
        latents: channels that its config asks for.
        where: the file.
        labels: whether the family has `label_emb` itself, as SD XL for the size of its pictures.
    """
    signs = _NAMES if labels else (*_NAMES, _CLASS_NAMES)
    for pattern, title in signs:
        weight = next((name for name in names if re.match(pattern, name)), None)
        if weight is not None:
            _refuse(where, title, f"it has {weight}")
    if inputs is not None:
        _require_channels(inputs, latents, latents, where)


def _require_channels(inputs: object, outputs: object, latents: int, where: str) -> None:
    if inputs == latents == outputs:
        return
    title = _CHANNELS.get(inputs if isinstance(inputs, int) else 0)
    if title is not None and inputs != latents:
        _refuse(where, title, f"its first layer takes {inputs} channels, not {latents}")
    raise CheckpointError(
        f"{where} has a UNet that takes {inputs} channels and gives {outputs}, and latents of "
        f"{latents}; all three must be equal, so give a UNet and a VAE of one text-to-image model"
    )


def _require_additions(
    config: Mapping[str, Any], wanted: str | None, family: str, where: str
) -> None:
    kind = config.get("addition_embed_type")
    if kind != wanted:
        raise CheckpointError(
            f"{where} has a UNet with the addition_embed_type {kind!r}, and that of "
            f"{family} is {wanted!r}; give the complete base model"
        )


def _refuse(where: str, title: str, sign: str) -> None:
    raise CheckpointError(
        f"{where} has {title} ({sign}); only plain text-to-image models can be edited, so give "
        "the base model that it was made from"
    )
