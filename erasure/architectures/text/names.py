"""The weights of CLIP's text encoders: which may be selected, and where in the network they sit."""

import re
from collections.abc import Mapping
from typing import Final

from erasure.architectures.layer_names import OTHER, LayerNames
from erasure.architectures.scopes import Predicate

LAYERS: Final = "layers"
"""The scope of methods that train a text encoder."""
_LAYER: Final = re.compile(r"encoder\.layers\.(\d+)\.")
_SECTIONS: Final = ("embed", "layer", "out", OTHER)
_KINDS: Final = ("attn", "ff", "norm", "embed", "out", OTHER)


def full(name: str) -> bool:
    """Every weight; the numbers of the places are no weights, though old files hold them."""
    return not name.endswith("position_ids")


def layers(name: str) -> bool:
    """All layers and the last norm, without the embeddings of words and places and without the
    projection, as arXiv:2405.15234 trains them."""
    return bool(_LAYER.search(name)) or "final_layer_norm" in name


TEXT_SCOPES: Final[Mapping[str, Predicate]] = {
    "full": full,
    LAYERS: layers,
    "attn": lambda name: ".self_attn." in name,
    "mlp": lambda name: ".mlp." in name,
}


def block_of(name: str) -> str:
    """`text_model.encoder.layers.3.mlp...` -> `layer.3`; also `embed`, `out` and `other`."""
    if match := _LAYER.search(name):
        return f"layer.{match[1]}"
    if "embeddings." in name:
        return "embed"
    return "out" if "final_layer_norm" in name or "text_projection" in name else OTHER


def block_order(block: str) -> tuple[int, int]:
    """Sort key that puts blocks in the order the signal passes them."""
    section, _, number = block.partition(".")
    return _SECTIONS.index(section), int(number or 0)


def kind_of(name: str) -> str:
    """The kind of layer: attention, products between layers, norms, embeddings, projection."""
    if "layer_norm" in name:
        return "norm"
    for part, kind in ((".self_attn.", "attn"), (".mlp.", "ff"), ("embeddings.", "embed")):
        if part in name:
            return kind
    return "out" if "text_projection" in name else OTHER


TEXT_LAYERS: Final = LayerNames(block_of, block_order, kind_of, _KINDS)
"""The blocks and kinds above, as reports name them."""
