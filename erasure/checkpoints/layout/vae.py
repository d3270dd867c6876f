"""VAE: `encoder.down_blocks.i...` <-> `encoder.down.i...`, any number of levels and layers.

The original counts the decoder's levels from the output, so `up_blocks.i` is `up.(levels-1-i)`. Its
attention is four 1x1 convolutions, (C, C, 1, 1), where diffusers holds linear layers, (C, C).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from torch import Tensor

from erasure.checkpoints.layout.renaming import inverse, rename_all, respelled

_RESNET: Final = ("norm1", "conv1", "norm2", "conv2", "conv_shortcut")
_ATTENTION: Final = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
_OLD_ATTENTION: Final = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_NAME: Final = re.compile(r"(.*\.attentions\.\d+\.)(query|key|value|proj_attn)(\..*)")
_PROJECTION: Final = re.compile(r".*\.mid\.attn_1\.(q|k|v|proj_out)\.weight")
_NUMBERS: Final = re.compile(r"\.(?:down|up)(?:_blocks)?\.(\d+)\.(?:(?:resnets|block)\.(\d+)\.)?")


def to_original(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """diffusers names -> original names, without `first_stage_model.`."""
    weights = modern_names(weights)
    names = rename_all(weights, _modules(weights))
    return {new: _as_conv(new, weights[old]) for old, new in names.items()}


def to_diffusers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Original names, without `first_stage_model.`, -> diffusers names."""
    names = rename_all(weights, inverse(_modules(weights)))
    return {new: _as_linear(old, weights[old]) for old, new in names.items()}


def modern_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Attention names of diffusers before 0.15 (`query`, ...), as published folders still have."""
    return respelled(weights, _modern_name)


def _modern_name(name: str) -> str:
    old = _OLD_NAME.fullmatch(name)
    return f"{old[1]}{_OLD_ATTENTION[old[2]]}{old[3]}" if old else name


def _as_conv(original_name: str, weight: Tensor) -> Tensor:
    linear = _PROJECTION.fullmatch(original_name) and weight.ndim == 2
    return weight[:, :, None, None] if linear else weight


def _as_linear(original_name: str, weight: Tensor) -> Tensor:
    conv = _PROJECTION.fullmatch(original_name) and weight.ndim == 4
    return weight[:, :, 0, 0] if conv else weight


def _modules(names: Iterable[str]) -> dict[str, str]:
    """Every module path, diffusers -> original, as many as the `names` of either layout show."""
    numbers = [match for name in names if (match := _NUMBERS.search(name))]
    levels = max((int(match[1]) + 1 for match in numbers), default=0)
    layers = max((int(match[2] or 0) + 1 for match in numbers), default=0)
    modules = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}

    def resnet(old: str, new: str) -> None:
        for name in _RESNET:
            modules[f"{old}.{name}"] = f"{new}.{name.replace('conv_shortcut', 'nin_shortcut')}"

    for half, side, sampler in (("encoder", "down", "downsample"), ("decoder", "up", "upsample")):
        modules |= {f"{half}.conv_in": f"{half}.conv_in", f"{half}.conv_out": f"{half}.conv_out"}
        modules[f"{half}.conv_norm_out"] = f"{half}.norm_out"
        for i in range(levels):
            level = i if side == "down" else levels - 1 - i
            old, new = f"{half}.{side}_blocks.{i}", f"{half}.{side}.{level}"
            modules[f"{old}.{sampler}rs.0"] = f"{new}.{sampler}"
            for j in range(layers):
                resnet(f"{old}.resnets.{j}", f"{new}.block.{j}")
        resnet(f"{half}.mid_block.resnets.0", f"{half}.mid.block_1")
        resnet(f"{half}.mid_block.resnets.1", f"{half}.mid.block_2")
        for name, original in _ATTENTION.items():
            modules[f"{half}.mid_block.attentions.0.{name}"] = f"{half}.mid.attn_1.{original}"
    return modules
