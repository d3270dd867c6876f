"""Transformer of Z-Image: names of diffusers <-> names of the published files.

Source: the converter of diffusers, read the other way round.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from torch import Tensor

from erasure.checkpoints.layout.fused import FusedLayout

_PATCH: Final = "2-1"
"""Latents a side and frames of a patch, which name the layers of diffusers."""
_UNUSED: Final = "norm_final.weight"
"""A weight of published files that nothing reads."""
_BLOCK: Final = re.compile(r"((?:layers|noise_refiner|context_refiner)\.\d+)\.")
_SAME: Final = ("x_pad_token", "cap_pad_token", "t_embedder", "cap_embedder")
_IN_BLOCK: Final = (
    "attention_norm1 attention_norm2 ffn_norm1 ffn_norm2 feed_forward adaLN_modulation"
).split()
_ATTENTION: Final = {"to_out.0": "out", "norm_q": "q_norm", "norm_k": "k_norm"}
_FUSED: Final = ("to_q", "to_k", "to_v")


def to_original(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """diffusers names -> original names, without prefix."""
    return layout_of(weights).to_original(weights)


def to_diffusers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Original names without prefix -> diffusers names."""
    return layout_of(weights).to_diffusers(weights)


def used(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Original names without the weight that no network reads, as diffusers leaves it out."""
    return {name: weight for name, weight in weights.items() if name != _UNUSED}


def layout_of(names: Iterable[str]) -> FusedLayout:
    """The layout of a transformer of so many blocks as the names have."""
    blocks = sorted({match[1] for name in names if (match := _BLOCK.match(name))})
    modules = {name: name for name in _SAME}
    modules |= {f"all_{name}.{_PATCH}": name for name in ("x_embedder", "final_layer")}
    modules |= {f"{block}.{name}": f"{block}.{name}" for block in blocks for name in _IN_BLOCK}
    modules |= {
        f"{block}.attention.{ours}": f"{block}.attention.{theirs}"
        for block in blocks
        for ours, theirs in _ATTENTION.items()
    }
    fused = {
        f"{block}.attention.qkv": [f"{block}.attention.{part}" for part in _FUSED]
        for block in blocks
    }
    return FusedLayout(modules=modules, fused=fused)
