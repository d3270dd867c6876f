"""OpenCLIP text tower (SD 2.x, second of SD XL): names of transformers <-> names of open_clip.

open_clip holds query, key and value as one matrix, in this order: `in_proj_weight` (3 D, D) and
`in_proj_bias` (3 D). Its `text_projection` is the transpose of transformers' linear layer (square,
so no shape check sees a missing transpose). D is the width.
"""

import re
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from erasure.checkpoints.layout.clip import with_prefix
from erasure.checkpoints.layout.renaming import inverse, joined, parted, renamed
from erasure.errors import CheckpointError

_MATRIX: Final = "text_projection"
_LINEAR: Final = "text_projection.weight"
_SHARED: Final = {
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm": "ln_final",
    _LINEAR: _MATRIX,
    "logit_scale": "logit_scale",
}
_LAYER: Final = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_NUMBER: Final = re.compile(r"(?:text_model\.encoder\.layers|transformer\.resblocks)\.(\d+)\.")
_PROJECTION: Final = re.compile(
    r"text_model\.encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)"
)
_FUSED: Final = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)")


def to_original(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """transformers names, with or without `text_model.`, -> open_clip names."""
    weights = with_prefix(weights)
    modules = _modules(weights)
    done: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if match := _PROJECTION.fullmatch(name):
            if match[2] != "q":
                continue  # taken with its query
            parts = [_sibling(weights, name, letter) for letter in "qkv"]
            fused = f"transformer.resblocks.{match[1]}.attn.in_proj_{match[3]}"
            done[fused] = joined(parts, fused)
        else:
            done[renamed(name, modules)] = _turned(weight, name) if name == _LINEAR else weight
    return done


def to_diffusers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """open_clip names -> transformers names with `text_model.`, every layer that is there."""
    modules = inverse(_modules(weights))
    done: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if match := _FUSED.fullmatch(name):
            layer = f"text_model.encoder.layers.{match[1]}.self_attn"
            for letter, part in zip("qkv", parted(weight, 3, name), strict=True):
                done[f"{layer}.{letter}_proj.{match[2]}"] = part
        else:
            done[renamed(name, modules)] = _turned(weight, name) if name == _MATRIX else weight
    return done


def usual_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Original names with `text_projection` in place of `text_projection.weight`.

    diffusers' own script for SD XL leaves the linear layer of transformers as it is, so what has
    that longer name is the transpose of what has the shorter one.

    Raises:
        CheckpointError: both names are there and differ.
    """
    weights = dict(weights)
    linear = weights.pop(_LINEAR, None)
    if linear is None:
        return weights
    turned, other = _turned(linear, _LINEAR), weights.get(_MATRIX)
    if other is not None and not torch.equal(other.double(), turned.double()):
        raise CheckpointError(
            f"the text encoder has both {_MATRIX} and {_LINEAR}, and one is not the transpose of "
            "the other; take out the one that is wrong"
        )
    return {_MATRIX: turned, **weights}


def _turned(weight: Tensor, name: str) -> Tensor:
    """The transpose of a matrix."""
    if weight.dim() != 2:
        raise CheckpointError(
            f"{name} of the text encoder has the shape {list(weight.shape)}, not two "
            "dimensions; fetch the file again"
        )
    return weight.t()


def _sibling(weights: Mapping[str, Tensor], query: str, letter: str) -> Tensor:
    name = query.replace(".q_proj.", f".{letter}_proj.")
    if name not in weights:
        raise CheckpointError(f"the text encoder has {query} but no {name}; it is incomplete")
    return weights[name]


def _modules(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Every module path but the fused ones, transformers -> open_clip."""
    layers = {int(match[1]) for name in weights if (match := _NUMBER.match(name))}
    return dict(_SHARED) | {
        f"text_model.encoder.layers.{n}.{old}": f"transformer.resblocks.{n}.{new}"
        for n in sorted(layers)
        for old, new in _LAYER.items()
    }
