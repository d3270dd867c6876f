"""A file that holds a UNet alone, as ComfyUI and diffusers write it: given the prefix it lacks."""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from erasure.architectures.stable_diffusion import UNET
from erasure.checkpoints.checks.plain_unet import FIRST_CONVOLUTION
from erasure.checkpoints.facts.statements import MARKS
from erasure.storage.tensor_file import TensorFile

_IN_ORIGINAL: Final = (FIRST_CONVOLUTION, "time_embed.0.weight", "out.2.weight")
_IN_DIFFUSERS: Final = ("conv_in.weight", "time_embedding.linear_1.weight", "conv_out.weight")


def with_prefix(file: TensorFile) -> TensorFile:
    """The UNet's weights under the names of a whole single file; any other file as it is."""
    marks = {name: mark for name, mark in file.tensors.items() if name in MARKS}
    named = {name: weight for name, weight in file.tensors.items() if name not in MARKS}
    if _holds(named, _IN_DIFFUSERS):
        named = UNET.to_original(named)
    elif not _holds(named, _IN_ORIGINAL):
        return file
    prefixed = {f"{UNET.prefix}{name}": weight for name, weight in named.items()}
    return replace(file, tensors={**prefixed, **marks})


def _holds(names: Collection[str], wanted: Collection[str]) -> bool:
    return all(name in names for name in wanted)
