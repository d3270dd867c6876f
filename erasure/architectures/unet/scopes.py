"""Which parameters of a diffusers UNet may be selected at all, by the names papers use.

Source: the `train_method` choices of ESD (arXiv:2303.07345), as the released SalUn code carries
them: substring rules on CompVis names, translated here to diffusers names.
"""

import re
from collections.abc import Mapping
from typing import Final

from erasure.architectures.scopes import Predicate

_ATTENTION: Final = re.compile(r"\.attn[12]\.to_(?:q|k|v|out)\.")


def _is_output(name: str) -> bool:
    return name.startswith(("conv_norm_out.", "conv_out."))  # CompVis `out.`


def _is_time(name: str) -> bool:
    # CompVis `time_embed`. Each resnet's `time_emb_proj` is `emb_layers` there, so it stays.
    return name.startswith("time_embedding.")


def full(name: str) -> bool:
    """Every weight of the UNet."""
    return True


def xattn(name: str) -> bool:
    """Cross-attention: where the prompt enters."""
    return "attn2" in name


def xattn_kv(name: str) -> bool:
    """Keys and values of cross-attention, which alone read the prompt (ESD-x-strict)."""
    return name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))


def attn(name: str) -> bool:
    """Queries, keys, values and outputs of both attentions (concept ablation's `attn`)."""
    return bool(_ATTENTION.search(name))


def esd_u(name: str) -> bool:
    """All linear and convolution layers outside cross-attention (ESD-u of its newer release)."""
    return not (xattn(name) or "norm" in name)


def selfattn(name: str) -> bool:
    """Self-attention."""
    return "attn1" in name


def noxattn(name: str) -> bool:
    """All but cross-attention, the output layers and the shared time embedding."""
    return not (_is_output(name) or _is_time(name) or xattn(name))


def notime(name: str) -> bool:
    """All but the output layers and the shared time embedding."""
    return not (_is_output(name) or _is_time(name))


def xlayer(name: str) -> bool:
    """Cross-attention of two decoder layers (CompVis `output_blocks.6` and `.8`)."""
    layers = ("up_blocks.2.attentions.0.", "up_blocks.2.attentions.2.")
    return xattn(name) and name.startswith(layers)


def selflayer(name: str) -> bool:
    """Self-attention of two encoder layers (CompVis `input_blocks.4` and `.7`)."""
    layers = ("down_blocks.1.attentions.0.", "down_blocks.2.attentions.0.")
    return selfattn(name) and name.startswith(layers)


UNET_SCOPES: Final[Mapping[str, Predicate]] = {
    "full": full,
    "xattn": xattn,
    "xattn-kv": xattn_kv,
    "attn": attn,
    "esd-u": esd_u,
    "selfattn": selfattn,
    "noxattn": noxattn,
    "notime": notime,
    "xlayer": xlayer,
    "selflayer": selflayer,
}
