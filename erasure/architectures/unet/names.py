"""Where in a diffusers UNet a parameter sits: its block, and its kind of layer."""

import re
from typing import Final

from erasure.architectures.layer_names import LayerNames

_BLOCK: Final = re.compile(r"(down|up)_blocks\.(\d+)\.")
_SIMPLE_BLOCKS: Final = {
    "conv_in": "in",
    "time_embedding": "time",
    "add_embedding": "time",
    "class_embedding": "time",
    "mid_block": "mid",
    "conv_norm_out": "out",
    "conv_out": "out",
}
_SECTIONS: Final = ("in", "time", "down", "mid", "up", "out", "other")

KINDS: Final = (
    "attn1",
    "attn2",
    "ff",
    "proj",
    "resnet",
    "norm",
    "time",
    "resample",
    "in",
    "out",
    "other",
)
"""Kinds of layer, in the order reports list them."""


def block_of(name: str) -> str:
    """`down_blocks.0.resnets...` -> `down.0`; also `in`, `time`, `mid`, `up.3`, `out`, `other`."""
    if match := _BLOCK.match(name):
        return f"{match[1]}.{match[2]}"
    return _SIMPLE_BLOCKS.get(name.partition(".")[0], "other")


def block_order(block: str) -> tuple[int, int]:
    """Sort key that puts blocks in the order the signal passes them."""
    section, _, number = block.partition(".")
    return _SECTIONS.index(section), int(number or 0)


def kind_of(name: str) -> str:
    """The kind of layer, one of `KINDS`.

    `norm` is every normalisation wherever it sits, `time` the time embedding and its projection
    in each resnet, `proj` the two projections around a transformer, `resnet` its convolutions.
    """
    parts = name.split(".")
    for kind in ("attn1", "attn2", "ff"):
        if kind in parts:
            return kind
    if any(part.startswith(("norm", "conv_norm", "group_norm")) for part in parts):
        return "norm"
    if block_of(name) == "time" or "time_emb_proj" in parts:
        return "time"
    if "proj_in" in parts or "proj_out" in parts:
        return "proj"
    if "resnets" in parts:
        return "resnet"
    if "downsamplers" in parts or "upsamplers" in parts:
        return "resample"
    block = block_of(name)
    return block if block in ("in", "out") else "other"


UNET_LAYERS: Final = LayerNames(block_of, block_order, kind_of, KINDS)
"""The blocks and kinds above, as an architecture names them."""
