"""All architectures by key: a new one is one file in a room beside this, and one line here."""

from collections.abc import Iterable, Mapping
from typing import Final

from erasure.architectures.architecture import Architecture
from erasure.architectures.labels.ddpm import DDPM
from erasure.architectures.labels.dit import DIT
from erasure.architectures.labels.released import RELEASED
from erasure.architectures.layer_names import OTHER, LayerNames
from erasure.architectures.text.names import TEXT_LAYERS
from erasure.architectures.transformer.flux import FLUX_DEV, FLUX_SCHNELL
from erasure.architectures.transformer.flux2 import FLUX2_KLEIN, FLUX2_KLEIN_DISTILLED
from erasure.architectures.transformer.qwen_image import QWEN_IMAGE
from erasure.architectures.transformer.sd3 import SD3, SD35_LARGE, SD35_MEDIUM
from erasure.architectures.transformer.z_image import Z_IMAGE
from erasure.architectures.unet.sd1 import SD1
from erasure.architectures.unet.sd2 import SD2
from erasure.architectures.unet.sdxl import SDXL

ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    one.key: one
    for one in (
        *(SD1, SD2, SDXL, SD35_MEDIUM, SD35_LARGE, SD3),
        *(FLUX2_KLEIN, FLUX2_KLEIN_DISTILLED),  # before FLUX.1, whose first weight they have too
        *(FLUX_DEV, FLUX_SCHNELL, Z_IMAGE, QWEN_IMAGE, DDPM, RELEASED, DIT),
    )
}
"""Key -> architecture; where several suit a file, the first is taken."""


def layers_of(names: Iterable[str]) -> LayerNames:
    """Find how reports cut the network whose weights have these names.

    A mask alone does not say of which architecture it is. The first whose naming knows a block of
    one of the names is taken; where none does, the first of all.
    """
    every = tuple(names)
    mains = (architecture.layers for architecture in ARCHITECTURES.values())
    namings = dict.fromkeys((*mains, TEXT_LAYERS))
    knowing = (one for one in namings if any(one.block_of(name) != OTHER for name in every))
    return next(knowing, next(iter(namings)))


def title_of(component: str) -> str:
    """What a sentence calls a component, whatever the model; its own name where no part has it."""
    parts = (part for one in ARCHITECTURES.values() for part in one.parts)
    return next((part.title for part in parts if part.component == component), component)


def all_text_readers() -> dict[str, str]:
    """The `text_readers` of all architectures; their names are of one kind of network alone."""
    return {k: v for family in ARCHITECTURES.values() for k, v in family.text_readers.items()}
