"""Which weights of a flow transformer may be selected, by names that mean the same in each family.

Pictures and text pass through the same attention there, so nothing is cross-attention: `text-attn`
is the half of it that reads the text.

Source: the names of parameters in diffusers; ESD's as its public forks for transformers have them.
"""

import re
from collections.abc import Mapping
from typing import Final

from erasure.architectures.scopes import Predicate
from erasure.architectures.text.joint_encoders import POOLED
from erasure.diffusion.denoiser import TOKENS

_ATTENTION: Final = re.compile(
    r"\.(attn2?|attention)\."
    r"(to_[qkv]|to_out(\.0)?|to_add_out|add_[qkv]_proj|to_qkv_mlp_proj)\.(weight|bias)$"
)
_TEXT: Final = re.compile(r"\.attn\.(add_[qkv]_proj|to_add_out)\.(weight|bias)$")
_KEYS_AND_VALUES: Final = re.compile(
    r"\.(attn2?|attention)\.(to_[kv]|add_[kv]_proj)\.(weight|bias)$"
)
_FEED_FORWARD: Final = re.compile(
    r"\.(ff|ff_context|img_mlp|txt_mlp|feed_forward)\.|^single_transformer_blocks\.\d+\."
    r"(proj_mlp|proj_out)\."
)
_MODULATION: Final = re.compile(
    r"(^|\.)(norm1|norm1_context|norm|norm_out)\.linear\.|\.adaLN_modulation\.|_mod\.\d+\.|"
    r"_modulation(_img|_txt)?\.linear\."
)
_TEXT_IN: Final = (
    *("context_embedder.", "time_text_embed.text_embedder."),  # SD3, FLUX
    *("cap_embedder.", "txt_norm.", "txt_in."),  # Z-Image, Qwen-Image
)


def full(name: str) -> bool:
    """Every weight of the transformer."""
    return True


def attn(name: str) -> bool:
    """Queries, keys, values and outputs of all attention, of picture and text."""
    return bool(_ATTENTION.search(name))


def text_attn(name: str) -> bool:
    """The half of the joint attention that reads and writes the text."""
    return bool(_TEXT.search(name))


def keys_and_values(name: str) -> bool:
    """Keys and values of all attention, of picture and text."""
    return bool(_KEYS_AND_VALUES.search(name))


def feed_forward(name: str) -> bool:
    """The feed-forward layers, of picture and text; of a single block also its output, which
    attention and feed-forward share."""
    return bool(_FEED_FORWARD.search(name))


def modulation(name: str) -> bool:
    """The layers by which time and pooled text scale and shift everything else."""
    return bool(_MODULATION.search(name))


def double(name: str) -> bool:
    """The blocks in which picture and text have weights of their own."""
    return name.startswith("transformer_blocks.")


def single(name: str) -> bool:
    """The blocks in which picture and text share their weights."""
    return name.startswith("single_transformer_blocks.")


def text_in(name: str) -> bool:
    """The layers that the encoded prompt meets first."""
    return name.startswith(_TEXT_IN)


def esd_u(name: str) -> bool:
    """All linear layers outside of the joint attention, as a fork of ESD for SD3.5 has it; so not
    the convolution that cuts the latents into patches."""
    return ".attn." not in name and ".norm_" not in name and not name.startswith("pos_embed.")


JOINT_SCOPES: Final[Mapping[str, Predicate]] = {
    "full": full,
    "attn": attn,
    "text-attn": text_attn,
    "kv": keys_and_values,
    "ff": feed_forward,
    "modulation": modulation,
    "double": double,
    "text-in": text_in,
}
"""Those of a joint transformer of double blocks."""

JOINT_DEFAULTS: Final[Mapping[str, str]] = {"xattn": "attn", "xattn-kv": "kv"}
"""Scope that a method takes by itself in a UNet -> what it takes in a joint transformer."""
TEXT_READERS: Final[Mapping[str, str]] = {
    "context_embedder.weight": TOKENS,
    "time_text_embed.text_embedder.linear_1.weight": POOLED,
}
"""The weights of `text-in` that multiply what the text encoders made.

Source: the FLUX part of UCE's release rewrites these two.
"""

_HINT: Final = (
    "picture and text share their attention in this model, so there is no cross-attention: take "
    "'text-attn' for the half that reads the text, 'kv' for all keys and values, or 'attn'"
)
SHARED_HINTS: Final[Mapping[str, str]] = dict.fromkeys(
    ("xattn", "xattn-kv", "noxattn", "selfattn", "xlayer", "selflayer"), _HINT
)
"""Scopes of other families -> what to take in their place."""
JOINT_HINTS: Final[Mapping[str, str]] = {
    **SHARED_HINTS,
    "single": "this model has no single blocks, so take 'double' or 'full'",
}
"""The same where all blocks are double ones."""
