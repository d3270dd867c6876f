"""The keys of LoRA files: which layer one is of, and what it holds of it."""

from typing import Final, Literal

Role = Literal["down", "up", "alpha", "diff", "diff_b", "set"]

_ROLES: Final[dict[str, Role]] = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    "_lora.down.weight": "down",
    "_lora.up.weight": "up",
    ".alpha": "alpha",
    ".diff": "diff",
    ".diff_b": "diff_b",
    ".w_norm": "diff",
    ".b_norm": "diff_b",
    ".set_weight": "set",
}
"""End of a key -> what it holds; the first that fits counts."""
_OTHERS: Final = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "boft_": "BOFT",
    "oft_": "OFT",  # which is a part of the former
    "on_input": "IA3",
    "lora_mid": "LoRA with a third factor",
    "lora_B.bias": "LoRA with biases of its own",
    "lora_up.bias": "LoRA with biases of its own",
    "reshape_weight": "LoRA with reshaped weights",
    "bundle_emb": "LoRA with embeddings of its own",
}
"""What a key of another kind of adapter has in it -> its name."""


def split_key(key: str) -> tuple[str, Role] | None:
    """The name of the layer, and what the key holds of it; None for any other key."""
    for end, role in _ROLES.items():
        if key.endswith(end) and len(key) > len(end):
            return key.removesuffix(end), role
    return None


def other_kind(key: str) -> str | None:
    """The name of the kind of adapter that has such a key, where it is none that is read here."""
    return next((kind for part, kind in _OTHERS.items() if part in key), None)
