"""Which weights of a UNet of labels may be selected at all."""

from collections.abc import Mapping
from typing import Final

from erasure.architectures.scopes import Predicate
from erasure.architectures.unet.scopes import full, notime

_TABLE: Final = "class_embedding."


def _attn(name: str) -> bool:
    """Queries, keys, values and outputs of self-attention."""
    return ".attentions." in name and ".group_norm." not in name


def _resnet(name: str) -> bool:
    """The convolutions and projections of the residual blocks."""
    return ".resnets." in name and ".norm" not in name


def _labels(name: str) -> bool:
    """The table of labels, and the projections through which it enters each block."""
    return name.startswith(_TABLE) or ".time_emb_proj." in name


def _no_labels(name: str) -> bool:
    """All but the table of labels, whose row alone could be moved: a fine-tune undoes that."""
    return not name.startswith(_TABLE)


LABEL_SCOPES: Final[Mapping[str, Predicate]] = {
    "full": full,
    "attn": _attn,
    "selfattn": _attn,
    "resnet": _resnet,
    "notime": notime,
    "labels": _labels,
    "nolabels": _no_labels,
}
SCOPE_HINTS: Final = {
    name: "a model of labels has no cross-attention, so take full, attn, resnet or labels"
    for name in ("xattn", "xattn-kv", "noxattn", "esd-u", "xlayer", "selflayer")
}
"""Scopes of other families -> what to take in their place."""
SCOPE_DEFAULTS: Final = dict.fromkeys(SCOPE_HINTS, "full")
"""Scope that a method takes by itself in other models -> what it takes here."""
