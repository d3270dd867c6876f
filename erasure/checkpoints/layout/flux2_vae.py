"""VAE of FLUX.2: that of Stable Diffusion, with statistics, and two layers at other places.

The published file has the convolutions around the latents within encoder and decoder; in diffusers
they stand by themselves. The statistics have the same names in both.
"""

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from erasure.checkpoints.layout import vae
from erasure.checkpoints.layout.renaming import respelled

_STATISTICS: Final = "bn."
_WITHIN: Final = {
    "quant_conv.": "encoder.quant_conv.",
    "post_quant_conv.": "decoder.post_quant_conv.",
}
"""How names of these convolutions begin in diffusers -> in the published file."""
_APART: Final = {theirs: ours for ours, theirs in _WITHIN.items()}


def to_original(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """diffusers names -> original names, without `vae.`."""
    own, rest = _parted(weights, tuple(_WITHIN))
    return {**vae.to_original(rest), **_begun(own, _WITHIN)}


def to_diffusers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Original names, without `vae.`, -> diffusers names."""
    own, rest = _parted(weights, tuple(_APART))
    return {**vae.to_diffusers(rest), **_begun(own, _APART)}


def usual_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Original names, also of files that have these convolutions as diffusers has them."""
    return _begun(weights, _WITHIN)


def _parted(
    weights: Mapping[str, Tensor], starts: tuple[str, ...]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The statistics and what begins so, and the others."""
    own = {n: w for n, w in weights.items() if n.startswith((_STATISTICS, *starts))}
    return own, {n: w for n, w in weights.items() if n not in own}


def _begun(weights: Mapping[str, Tensor], starts: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights whose names begin in another way."""

    def begun(name: str) -> str:
        old = next((start for start in starts if name.startswith(start)), "")
        return f"{starts.get(old, '')}{name.removeprefix(old)}"

    return respelled(weights, begun)
