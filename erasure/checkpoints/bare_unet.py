"""A file that holds a UNet alone, as ComfyUI and diffusers write it: given the prefix it lacks."""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from erasure.checkpoints.family import SD1
from erasure.checkpoints.layout import unet
from erasure.checkpoints.plain_unet import FIRST_CONVOLUTION
from erasure.checkpoints.tensor_file import TensorFile

_PREFIX: Final = SD1.part("unet").prefix
_IN_ORIGINAL: Final = (FIRST_CONVOLUTION, "time_embed.0.weight", "out.2.weight")
_IN_DIFFUSERS: Final = ("conv_in.weight", "time_embedding.linear_1.weight", "conv_out.weight")


def with_prefix(found: TensorFile) -> TensorFile:
    """The UNet's weights under the names of a whole single file; any other file as it is."""
    if _holds(found.tensors, _IN_ORIGINAL):
        named = dict(found.tensors)
    elif _holds(found.tensors, _IN_DIFFUSERS):
        named = unet.to_original(found.tensors)
    else:
        return found
    return replace(found, tensors={f"{_PREFIX}{name}": weight for name, weight in named.items()})


def _holds(names: Collection[str], wanted: Collection[str]) -> bool:
    return all(name in names for name in wanted)
