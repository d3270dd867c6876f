"""Scopes of flow transformers: which layers they hold, and their shares at published sizes."""

from collections.abc import Callable, Iterable, Mapping

import pytest
import torch
from diffusers import (
    Flux2Transformer2DModel,
    QwenImageTransformer2DModel,
    ZImageTransformer2DModel,
)
from support.models.tiny_chat import FLUX2_CONFIG, QWEN_IMAGE_CONFIG, Z_IMAGE_CONFIG
from support.models.tiny_flow import SD3_KINDS, tiny_flux, tiny_sd3
from torch import Tensor, nn

from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.description import shipped_description
from erasure.checkpoints.expected_weights import expected_weights

TINY: Mapping[str, Callable[[], nn.Module]] = {
    "sd35_medium": lambda: tiny_sd3(**SD3_KINDS["sd35_medium"]),
    "flux_dev": lambda: tiny_flux(guidance_embeds=True),
    "flux2_klein": lambda: Flux2Transformer2DModel(**FLUX2_CONFIG),
    "qwen_image": lambda: QwenImageTransformer2DModel(**QWEN_IMAGE_CONFIG),
    "z_image": lambda: ZImageTransformer2DModel(**Z_IMAGE_CONFIG),
}


def tiny(key: str) -> nn.Module:
    with torch.device("meta"):
        return TINY[key]()


def linear(network: nn.Module, holds: Callable[[str], bool]) -> set[str]:
    """Names of the weights of all linear layers whose module's name it holds of."""
    layers = (n for n, module in network.named_modules() if isinstance(module, nn.Linear))
    chosen = tuple(f"{name}." for name in layers if holds(f".{name}."))
    return {name for name, _ in network.named_parameters() if name.startswith(chosen)}


@pytest.mark.parametrize("key", TINY)
def test_attn_is_every_linear_layer_of_an_attention_as_in_esd(key: str) -> None:
    network, family = tiny(key), ARCHITECTURES[key]
    wanted = linear(network, lambda name: ".attn" in name or ".attention." in name)
    assert wanted
    for scope in ("attn", "esd-x"):
        assert set(family.candidates(network.state_dict(), scope)) == wanted


def test_esd_u_of_sd3_is_every_other_linear_layer() -> None:
    network = tiny("sd35_medium")
    wanted = linear(network, lambda name: ".attn." not in name)
    chosen = set(ARCHITECTURES["sd35_medium"].candidates(network.state_dict(), "esd-u"))
    assert chosen == wanted
    assert any(".attn2." in name for name in chosen)
    assert "pos_embed.proj.weight" not in chosen  # a convolution


# Shares at published sizes, counted without contents


def published(key: str) -> Mapping[str, Tensor]:
    family = ARCHITECTURES[key]
    return expected_weights(family.main_part, shipped_description(key).components[family.main])


def percent(key: str, names: Iterable[str], digits: int = 0) -> float:
    """Share of all weights that a mask may select."""
    weights = published(key)
    everything = ARCHITECTURES[key].candidates(weights, "full")
    total = sum(weights[name].numel() for name in everything)
    return round(100 * sum(weights[name].numel() for name in names) / total, digits)


SHARES = {
    ("sd3", "attn"): 22,
    ("sd3", "text-attn"): 11,
    ("sd3", "ff"): 44,
    ("sd3", "modulation"): 33,
    ("sd35_medium", "attn"): 26,
    ("sd35_medium", "text-attn"): 10,
    ("sd35_medium", "ff"): 40,
    ("sd35_medium", "modulation"): 34,
    ("sd35_large", "attn"): 22,
    ("sd35_large", "text-attn"): 11,
    ("sd35_large", "ff"): 44,
    ("sd35_large", "modulation"): 33,
    ("flux_dev", "attn"): 21,
    ("flux_dev", "kv"): 12,
    ("flux_dev", "modulation"): 27,
    ("flux_dev", "single"): 45,
    ("flux_dev", "text-attn"): 6,
}
"""Family and scope -> percent of its weights, as counted elsewhere."""


@pytest.mark.parametrize(("key", "scope"), SHARES)
def test_a_scope_has_its_share_of_a_published_model(key: str, scope: str) -> None:
    names = ARCHITECTURES[key].candidates(published(key), scope)
    assert percent(key, names) == SHARES[key, scope]


@pytest.mark.parametrize(
    ("key", "share"), [("sd3", 5.6), ("sd35_medium", 5.1), ("sd35_large", 5.6), ("flux_dev", 3.0)]
)
def test_keys_and_values_of_the_text_are_a_twentieth_at_most(key: str, share: float) -> None:
    keys = ARCHITECTURES[key].candidates(published(key), "kv")
    assert percent(key, (name for name in keys if ".add_" in name), 1) == share


def test_feed_forward_and_text_readers_of_flux_have_their_shares() -> None:
    family, weights = ARCHITECTURES["flux_dev"], published("flux_dev")
    names = family.candidates(weights, "ff")
    assert percent("flux_dev", (n for n in names if n.startswith("transformer_blocks."))) == 24
    readers = tuple(name.removesuffix("weight") for name in family.text_readers)
    rewritten = (name for name in weights if name.startswith(readers))
    assert percent("flux_dev", rewritten, 2) == 0.13  # what UCE rewrites
