"""Transformer of FLUX.2: names of diffusers <-> names of the published files.

The single blocks are fused in diffusers too, so only the attention of the double ones is not.
Source: the converter of diffusers, read the other way round.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from torch import Tensor

from erasure.checkpoints.layout.fused import FusedLayout

_TIMES: Final = "time_guidance_embed"
_MODULATIONS: Final = ("double_stream_modulation_img", "double_stream_modulation_txt")
_SHARED: Final = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    **{
        f"{_TIMES}.{ours}_embedder.linear_{n}": f"{theirs}_in.{layer}_layer"
        for ours, theirs in (("timestep", "time"), ("guidance", "guidance"))
        for n, layer in ((1, "in"), (2, "out"))
    },
    **{f"{name}.linear": f"{name}.lin" for name in (*_MODULATIONS, "single_stream_modulation")},
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "proj_out": "final_layer.linear",
}
_DOUBLE: Final = {
    "attn.norm_q.weight": "img_attn.norm.query_norm.scale",
    "attn.norm_k.weight": "img_attn.norm.key_norm.scale",
    "attn.norm_added_q.weight": "txt_attn.norm.query_norm.scale",
    "attn.norm_added_k.weight": "txt_attn.norm.key_norm.scale",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.linear_in": "img_mlp.0",
    "ff.linear_out": "img_mlp.2",
    "ff_context.linear_in": "txt_mlp.0",
    "ff_context.linear_out": "txt_mlp.2",
}
_SINGLE: Final = {
    "attn.to_qkv_mlp_proj": "linear1",
    "attn.to_out": "linear2",
    "attn.norm_q.weight": "norm.query_norm.scale",
    "attn.norm_k.weight": "norm.key_norm.scale",
}
_FUSED: Final = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
_NUMBER: Final = re.compile(r"(single_|double_)?(?:transformer_)?blocks\.(\d+)\.")


def to_original(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """diffusers names -> original names, without prefix."""
    return layout_of(weights).to_original(weights)


def to_diffusers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Original names without prefix -> diffusers names."""
    return layout_of(weights).to_diffusers(weights)


def layout_of(names: Iterable[str]) -> FusedLayout:
    """The layout of a transformer of so many blocks as the names have."""
    matches = [match for name in names if (match := _NUMBER.match(name))]
    doubles = sorted({int(match[2]) for match in matches if match[1] != "single_"})
    singles = sorted({int(match[2]) for match in matches if match[1] == "single_"})
    two = [(f"transformer_blocks.{n}", f"double_blocks.{n}") for n in doubles]
    one = [(f"single_transformer_blocks.{n}", f"single_blocks.{n}") for n in singles]
    modules = dict(_SHARED)
    modules |= {f"{a}.{x}": f"{b}.{y}" for a, b in two for x, y in _DOUBLE.items()}
    modules |= {f"{a}.{x}": f"{b}.{y}" for a, b in one for x, y in _SINGLE.items()}
    fused = {
        f"{b}.{whole}": [f"{a}.{part}" for part in parts]
        for a, b in two
        for whole, parts in _FUSED.items()
    }
    return FusedLayout(modules=modules, fused=fused, exchanged=frozenset({"norm_out.linear"}))
