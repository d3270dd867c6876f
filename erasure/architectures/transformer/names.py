"""Where in a flow transformer a parameter sits: its block, and its kind of layer."""

import re
from typing import Final

from erasure.architectures.layer_names import OTHER, LayerNames
from erasure.architectures.transformer import scopes

_BLOCK: Final = re.compile(
    r"(single_transformer_blocks|transformer_blocks|layers|noise_refiner|context_refiner)\.(\d+)\."
)
_SECTION_OF: Final = {
    "transformer_blocks": "double",
    "single_transformer_blocks": "single",
    "layers": "single",
    "noise_refiner": "in",
    "context_refiner": "text",
}
_SIMPLE_BLOCKS: Final = {
    "pos_embed": "in",
    "x_embedder": "in",
    "context_embedder": "text",
    "time_text_embed": "time",
    "norm_out": "out",
    "proj_out": "out",
    # FLUX.2, whose modulation is shared by all blocks
    "time_guidance_embed": "time",
    "double_stream_modulation_img": "time",
    "double_stream_modulation_txt": "time",
    "single_stream_modulation": "time",
    # Z-Image
    "all_x_embedder": "in",
    "x_pad_token": "in",
    "cap_embedder": "text",
    "cap_pad_token": "text",
    "t_embedder": "time",
    "all_final_layer": "out",
    # Qwen-Image
    "img_in": "in",
    "txt_norm": "text",
    "txt_in": "text",
}
_SECTIONS: Final = ("in", "text", "time", "double", "single", "out", OTHER)

KINDS: Final = ("attn", "text-attn", "ff", "modulation", "norm", "time", "text", "in", "out", OTHER)
"""Kinds of layer, in the order reports list them."""


def block_of(name: str) -> str:
    """`transformer_blocks.0.attn...` -> `double.0`; also `single.3`, `in`, `text`, `time` or
    `out`; the blocks that refine picture or text alone are `in.0` and `text.0`."""
    if match := _BLOCK.match(name):
        return f"{_SECTION_OF[match[1]]}.{match[2]}"
    return _SIMPLE_BLOCKS.get(name.partition(".")[0], OTHER)


def block_order(block: str) -> tuple[int, int]:
    """Sort key that puts blocks in the order the signal passes them."""
    section, _, number = block.partition(".")
    return _SECTIONS.index(section), int(number or 0)


def kind_of(name: str) -> str:
    """The kind of layer, one of `KINDS`; what a scope selects counts as that scope's kind."""
    for kind, chosen in (
        ("modulation", scopes.modulation),
        ("text-attn", scopes.text_attn),
        ("attn", scopes.attn),
        ("ff", scopes.feed_forward),
    ):
        if chosen(name):
            return kind
    if "norm" in name.rpartition(".")[0].rpartition(".")[2]:
        return "norm"
    block = block_of(name).partition(".")[0]
    return block if block in ("in", "text", "time", "out") else OTHER


JOINT_LAYERS: Final = LayerNames(block_of, block_order, kind_of, KINDS)
"""The blocks and kinds above, as an architecture names them."""
