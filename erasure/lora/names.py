"""The names of layers in LoRA files, in every spelling that is read, and in the two written.

Names are made from the layers of a model, never by putting dots for underscores: that is ambiguous.

Source: the spellings as kohya-ss/sd-scripts, ComfyUI, A1111 and diffusers 0.42 read and write them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.layout.clip import PREFIX
from erasure.checkpoints.layout.unet import original_names
from erasure.errors import ConfigError, Way, way

Naming = Literal["kohya", "diffusers"]
NAMINGS: Final[tuple[Naming, ...]] = get_args(Naming)
MAIN_PREFIX: Final = "lora_unet_"
"""What kohya's names of the main component begin with, also where it is no UNet."""
_PROCESSED: Final = re.compile(r"^(.*attn\d)\.(to_[qkv]|to_out)(?:\.0)?$")
"""A projection of an attention, which older files of diffusers place in its processor."""
_OLD_TEXT: Final = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
"""The same of a text encoder's attention."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A layer of a model."""

    component: str
    """Such as `unet` or `text_encoder`."""
    module: str
    """Its diffusers name, without `.weight`."""

    @property
    def weight(self) -> str:
        """The name of its weight."""
        return f"{self.module}.weight"

    @property
    def bias(self) -> str:
        """The name of its bias."""
        return f"{self.module}.bias"


def places(checkpoint: Checkpoint) -> list[Place]:
    """The layers of the main component and of the text encoders, in the order of their weights."""
    return [
        Place(component, name.removesuffix(".weight"))
        for component in checkpoint.architecture.editable
        for name in checkpoint.components[component]
        if name.endswith(".weight")
    ]


def known_naming(name: str) -> Naming:
    """The naming of that name.

    Raises:
        ConfigError: there is none.
    """
    for naming in NAMINGS:
        if name == naming:
            return naming
    raise ConfigError(f"naming is {name!r}; give {' or '.join(NAMINGS)}")


def spelled(checkpoint: Checkpoint, naming: Naming) -> dict[Place, str]:
    """Layer -> its name in a file that is written.

    Raises:
        ConfigError: the naming is unknown, or the family has no names of kohya, or has them for
            several layers together; see `erasure.lora.rows`.
    """
    if known_naming(naming) == "diffusers":
        return {place: f"{place.component}.{place.module}" for place in places(checkpoint)}
    family = checkpoint.architecture
    if family.lora is None:
        raise ConfigError(
            f"the names that kohya gives to layers of {family.title} are not known here; give ",
            way("naming", "diffusers"),
        )
    if family.lora.layout is not None:
        raise ConfigError(
            f"kohya's names of {family.title} are of several layers together, and whole "
            "differences are not written so; give ",
            Way("--to patch", "the two models to save_patches"),
        )
    original = _original(checkpoint)
    names = {}
    for place in places(checkpoint):
        if place.component == family.main:
            module = original[place.module] if family.lora.original else place.module
            names[place] = MAIN_PREFIX + flat(module)
        else:
            names[place] = f"{family.lora.text[place.component][0]}_{flat(place.module)}"
    return names


def spellings(checkpoint: Checkpoint) -> dict[str, Place]:
    """Every name that a file may have for a layer -> the layer."""
    original = _original(checkpoint)
    return {
        name: place
        for place in places(checkpoint)
        for name in _all_names(checkpoint, place, original)
    }


def _all_names(checkpoint: Checkpoint, place: Place, original: Mapping[str, str]) -> Iterator[str]:
    family, module = checkpoint.architecture, place.module
    modules = [module]
    if place.component != family.main:
        modules.append(module.removeprefix(PREFIX))  # as transformers has it in memory
    for one in modules:
        yield f"{place.component}.{one}"
        yield from (f"{place.component}.{old}" for old in _older(one))
    if family.lora is None:
        return
    if place.component == family.main:
        yield MAIN_PREFIX + flat(module)
        if family.lora.layout is not None:
            return  # original names are of several layers together
        yield MAIN_PREFIX + flat(original[module])
        yield f"diffusion_model.{original[module]}"
    else:
        yield from (f"{start}_{flat(module)}" for start in family.lora.text[place.component])


def _older(module: str) -> Iterator[str]:
    """The names that files of older versions of diffusers have."""
    if match := _PROCESSED.match(module):
        yield f"{match[1]}.processor.{match[2]}"
    place, _, last = module.rpartition(".")
    if place.endswith("self_attn") and last in _OLD_TEXT:
        yield f"{place}.{_OLD_TEXT[last]}"


def _original(checkpoint: Checkpoint) -> dict[str, str]:
    """Layer of the main component -> its original name, where the family's names need it."""
    lora = checkpoint.architecture.lora
    if lora is None or lora.layout is not None:
        return {}
    names = original_names(checkpoint.network)
    return {
        name.removesuffix(".weight"): other.removesuffix(".weight")
        for name, other in names.items()
        if name.endswith(".weight")
    }


def flat(module: str) -> str:
    """A name with underscores in the place of dots."""
    return module.replace(".", "_")
