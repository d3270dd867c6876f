"""Transformer of Stable Diffusion 3 and 3.5: names of diffusers <-> names of published files."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from torch import Tensor

from erasure.checkpoints.layout.fused import FusedLayout

_TIMES: Final = "time_text_embed"
_SHARED: Final = {
    "pos_embed.pos_embed": "pos_embed",
    "pos_embed.proj": "x_embedder.proj",
    f"{_TIMES}.timestep_embedder.linear_1": "t_embedder.mlp.0",
    f"{_TIMES}.timestep_embedder.linear_2": "t_embedder.mlp.2",
    f"{_TIMES}.text_embedder.linear_1": "y_embedder.mlp.0",
    f"{_TIMES}.text_embedder.linear_2": "y_embedder.mlp.2",
    "context_embedder": "context_embedder",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "proj_out": "final_layer.linear",
}
_BLOCK: Final = {
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "attn.to_out.0": "x_block.attn.proj",
    "attn.to_add_out": "context_block.attn.proj",
    "attn.norm_q": "x_block.attn.ln_q",
    "attn.norm_k": "x_block.attn.ln_k",
    "attn.norm_added_q": "context_block.attn.ln_q",
    "attn.norm_added_k": "context_block.attn.ln_k",
    "attn2.to_out.0": "x_block.attn2.proj",
    "attn2.norm_q": "x_block.attn2.ln_q",
    "attn2.norm_k": "x_block.attn2.ln_k",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}
_FUSED: Final = {
    "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
}
_NUMBER: Final = re.compile(r"(?:transformer_blocks|joint_blocks)\.(\d+)\.")


def to_original(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """diffusers names -> original names, without prefix."""
    return layout_of(weights).to_original(weights)


def to_diffusers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Original names without prefix -> diffusers names."""
    return layout_of(weights).to_diffusers(weights)


def layout_of(names: Iterable[str]) -> FusedLayout:
    """The layout of a transformer of so many blocks as the names have.

    In the last block the text goes no further: its modulation has two parts alone, and they stand
    the other way round too.
    """
    blocks = sorted({int(match[1]) for name in names if (match := _NUMBER.match(name))})
    pairs = [(f"transformer_blocks.{n}", f"joint_blocks.{n}") for n in blocks]
    last = {f"transformer_blocks.{blocks[-1]}.norm1_context.linear"} if blocks else set()
    return FusedLayout(
        modules=_SHARED | {f"{a}.{x}": f"{b}.{y}" for a, b in pairs for x, y in _BLOCK.items()},
        fused={
            f"{b}.{whole}": [f"{a}.{part}" for part in parts]
            for a, b in pairs
            for whole, parts in _FUSED.items()
        },
        exchanged=frozenset({"norm_out.linear", *last}),
    )
