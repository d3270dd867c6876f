"""diffusers' `UNet2DModel` with labels as a main component: built, checked, and called."""

# B samples, C x H x W pixels.

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from erasure.architectures.labels.classes import Classes, classes_of
from erasure.architectures.labels.label_encoder import LABELS, require_class
from erasure.architectures.loading import copied, maker_of
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.checkpoints.checks.setting_values import (
    COUNT_OR_NULL,
    SWITCH,
    Kind,
    one_of,
    require_settings,
)
from erasure.diffusion.denoiser import Condition
from erasure.errors import CheckpointError
from erasure.storage.bare_names import shown

if TYPE_CHECKING:
    from erasure.checkpoints.description import Description

_CLASS: Final = "UNet2DModel"
_SIZES: Final = frozenset(
    # Sizes and arithmetic of the blocks: diffusers builds from them, nothing else is asked for.
    """sample_size in_channels out_channels center_input_sample freq_shift flip_sin_to_cos
    down_block_types mid_block_type up_block_types block_out_channels layers_per_block
    mid_block_scale_factor downsample_padding downsample_type upsample_type dropout act_fn
    attention_head_dim norm_num_groups attn_norm_num_groups norm_eps resnet_time_scale_shift
    add_attention num_class_embeds num_train_timesteps""".split()
)
_WANTED: Final[Mapping[str, tuple[object, ...]]] = {
    "class_embed_type": (None,),
    "time_embedding_type": ("positional", None),
    "time_embedding_dim": (None,),
}
"""Setting -> the values with which a sample, a time and a label are all that it is told."""


_VALUES: Final[Mapping[str, Kind]] = {
    # diffusers takes any value for these, and fails or does something else when it computes.
    "center_input_sample": SWITCH,
    "add_attention": SWITCH,
    "attention_head_dim": COUNT_OR_NULL,
    "attn_norm_num_groups": COUNT_OR_NULL,
    "downsample_type": one_of("conv", "resnet"),
    "upsample_type": one_of("conv", "resnet"),
}
"""Setting -> what its values are, where other classes have none such or allow more."""


@dataclass(frozen=True, slots=True)
class LabelDenoiser:
    """A network that is called with a sample, a time and a label, as objectives call it."""

    network: nn.Module

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, H, W), (B,), conditions of B samples with labels -> (B, C, H, W).

        Raises:
            ConfigError: it is told no class and has no label of that.
        """
        require_class(condition)
        answer: Tensor = self.network(x_t, t, condition.named(LABELS), return_dict=False)[0]
        return answer


unet2d_of = maker_of("UNet2DModel")
build_unet2d = partial(copied, build=unet2d_of, component="unet")


def sample(
    config: Mapping[str, Any], size: tuple[int, int], tokens: int
) -> tuple[Tensor, Tensor, Condition]:
    """Make what the network takes of one sample, without values; it is told no tokens."""
    x_t = torch.empty(1, whole_number(config, "in_channels", "the UNet", 3), *size)
    label = torch.empty(1, dtype=torch.int64)
    return x_t, torch.empty(1, dtype=torch.int64), Condition({LABELS: label})


def classes(description: "Description", where: str = "this model") -> Classes:
    """Read the classes that the network was trained on, as `model_index.json` names them.

    Raises:
        CheckpointError: see `classes_of`.
    """
    return classes_of(description, description.components["unet"].get("num_class_embeds"), where)


def check_configs(description: "Description", where: str) -> tuple[str, ...]:
    """Refuse a network that is told no label, or more than a label.

    Raises:
        CheckpointError: it is another network, its config holds a setting that is not understood,
            or the names of its classes are no such names.
    """
    config = description.components["unet"]
    kind = config.get("_class_name", _CLASS)
    if kind != _CLASS:
        raise CheckpointError(
            f"{where} has a UNet of class {shown(kind)}; a model that noises pixels and is told a "
            f"class has {_CLASS}"
        )
    if config.get("num_class_embeds") is None:
        raise CheckpointError(
            f"{where} has a {_CLASS} without num_class_embeds, so it is told no class and there is "
            "nothing to name as a concept; give a class-conditional model"
        )
    for name, value in config.items():
        known = name in _SIZES or name.startswith("_") or value in _WANTED.get(name, ())
        if not known and value is not None:
            raise CheckpointError(
                f"{where} has {shown(name)} = {shown(value)} in the config of its {_CLASS}; what "
                "it changes is not known here, so the model is not edited: give another model"
            )
    require_settings(config, _CLASS, where, _VALUES)
    channels = [whole_number(config, f"{way}_channels", "the UNet", 3) for way in ("in", "out")]
    if channels[0] != channels[1] or channels[0] not in (1, 3):
        raise CheckpointError(
            f"{where} has a {_CLASS} that takes {channels[0]} channels and gives {channels[1]}; "
            "1 or 3 of both are pictures"
        )
    whole_number(config, "sample_size", "the UNet")
    classes(description, where)
    return ()


def own_size(description: "Description") -> tuple[int, int]:
    """Give width and height of the pictures that it was trained to draw."""
    side = whole_number(description.components["unet"], "sample_size", "the UNet")
    return side, side


def latent_shape(description: "Description", height: int, width: int) -> tuple[int, int, int]:
    """Give (C, H, W): the pixels themselves are noised."""
    return whole_number(description.components["unet"], "in_channels", "the UNet", 3), height, width
