"""Transformer of FLUX.1: names of diffusers <-> names of the published files."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from torch import Tensor

from erasure.checkpoints.layout.fused import FusedLayout
from erasure.checkpoints.layout.renaming import respelled

_TIMES: Final = "time_text_embed"
_SHARED: Final = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    **{
        f"{_TIMES}.{ours}_embedder.linear_{n}": f"{theirs}_in.{layer}_layer"
        for ours, theirs in (("timestep", "time"), ("text", "vector"), ("guidance", "guidance"))
        for n, layer in ((1, "in"), (2, "out"))
    },
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "proj_out": "final_layer.linear",
}
_DOUBLE: Final = {
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
    "attn.norm_q.weight": "img_attn.norm.query_norm.scale",
    "attn.norm_k.weight": "img_attn.norm.key_norm.scale",
    "attn.norm_added_q.weight": "txt_attn.norm.query_norm.scale",
    "attn.norm_added_k.weight": "txt_attn.norm.key_norm.scale",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
}
_SINGLE: Final = {
    "norm.linear": "modulation.lin",
    "attn.norm_q.weight": "norm.query_norm.scale",
    "attn.norm_k.weight": "norm.key_norm.scale",
    "proj_out": "linear2",
}
_FUSED_DOUBLE: Final = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
_FUSED_SINGLE: Final = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
_NUMBER: Final = re.compile(r"(single_|double_)?(?:transformer_)?blocks\.(\d+)\.")
_NORM: Final = re.compile(r"(.*\.(?:query|key)_norm)\.weight")


def to_original(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """diffusers names -> original names, without prefix."""
    return layout_of(weights).to_original(weights)


def to_diffusers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Original names without prefix -> diffusers names."""
    return layout_of(weights).to_diffusers(weights)


def usual_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Original names with `.scale` for the norms of queries and keys, which files that ComfyUI
    saved call `.weight`."""
    return respelled(weights, lambda name: _NORM.sub(r"\1.scale", name))


def layout_of(names: Iterable[str]) -> FusedLayout:
    """The layout of a transformer of so many blocks as the names have."""
    matches = [match for name in names if (match := _NUMBER.match(name))]
    doubles = sorted({int(match[2]) for match in matches if match[1] != "single_"})
    singles = sorted({int(match[2]) for match in matches if match[1] == "single_"})
    two = [(f"transformer_blocks.{n}", f"double_blocks.{n}") for n in doubles]
    one = [(f"single_transformer_blocks.{n}", f"single_blocks.{n}") for n in singles]
    fused = {
        f"{b}.{whole}": [f"{a}.{part}" for part in parts]
        for a, b in two
        for whole, parts in _FUSED_DOUBLE.items()
    }
    fused |= {f"{b}.linear1": [f"{a}.{part}" for part in _FUSED_SINGLE] for a, b in one}
    modules = dict(_SHARED)
    modules |= {f"{a}.{x}": f"{b}.{y}" for a, b in two for x, y in _DOUBLE.items()}
    modules |= {f"{a}.{x}": f"{b}.{y}" for a, b in one for x, y in _SINGLE.items()}
    return FusedLayout(
        modules=modules,
        fused=fused,
        exchanged=frozenset({"norm_out.linear"}),
        # A row of the matrix, of queries, keys, values and what goes into the feed-forward, is as
        # long as the network is wide; the bias is cut like it.
        widths={f"{b}.linear1": f"{b}.linear1.weight" for _, b in one},
    )
