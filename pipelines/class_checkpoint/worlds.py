"""What the recipe can be trained on: clothes, whose model comes with the package, and icons."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eval.judges.clothes import to_grey
from pipelines.class_checkpoint.garments import load_garments
from pipelines.class_checkpoint.pictures import ClassPictures
from pipelines.class_checkpoint.recipe import FIT, FIT_ICONS, SIDE, build_network
from pipelines.class_checkpoint.variants import Variant
from pipelines.classifiers.data.icon_data import CLASSES as ICONS
from pipelines.classifiers.data.icon_data import icons
from pipelines.demo_checkpoint.fit import FitConfig
from pipelines.demo_checkpoint.retrained.concepts import OTHER_SEED
from pipelines.run.models import CLOTHES_NAME
from prompts.clothes import CLOTHES

Halves = tuple[ClassPictures, ClassPictures]
"""Pictures to train on, and others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Pictures of ten classes, and how a model of them is trained."""

    name: str
    classes: tuple[str, ...]
    channels: int
    model_name: str
    """`_name_or_path` in the model's index."""
    fit: FitConfig
    left_out: str
    """The class that the retrained variant never sees."""
    load: Callable[[Path | None], Halves]
    """Reads the pictures from a folder, or from where they usually are."""
    to_pixels: Callable[[list[Image.Image]], Tensor]
    """Makes of drawings what the judge reads, (B, C, 32, 32) in [-1, 1]."""

    @property
    def nothing(self) -> int:
        """Label of the row that stands for no class, behind those of the classes."""
        return len(self.classes)

    @property
    def variants(self) -> dict[str, Variant]:
        """Name -> model, in the order of their training. `twin` sees everything, from other
        seeds."""
        gone = (self.classes.index(self.left_out),)
        without = Variant(name=f"no-{self.left_out.replace(' ', '-')}", without=gone)
        every = (Variant(name="base"), without, Variant(name="twin", seed_offset=OTHER_SEED))
        return {each.name: each for each in every}

    def build_network(self, seed: int) -> Any:  # noqa: ANN401
        """Make the network with random weights."""
        return build_network(seed, len(self.classes), self.channels)


def load_icons(path: Path | None = None) -> Halves:
    """Render 20,000 icons to train on, and 5,000 by other designers.

    Raises:
        ConfigError: a package of icons, or what renders them, is not there.
    """
    raw = icons(path)
    train, test = raw.train, raw.test or raw.train
    return ClassPictures(train.inputs[0], train.labels), ClassPictures(test.inputs[0], test.labels)


def to_colours(images: list[Image.Image]) -> Tensor:
    """Pictures of any size -> (B, 3, 32, 32) in [-1, 1]."""
    side = (SIDE, SIDE)
    small = [np.asarray(one.convert("RGB").resize(side, Image.Resampling.BOX)) for one in images]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1


WORLDS: Final[Mapping[str, World]] = {
    each.name: each
    for each in (
        World(
            name="clothes",
            classes=CLOTHES,
            channels=1,
            model_name=CLOTHES_NAME,
            fit=FIT,
            left_out="sneaker",
            load=load_garments,
            to_pixels=to_grey,
        ),
        World(
            name="icons",
            classes=tuple(ICONS),
            channels=3,
            model_name="diffusion-erasure-icons",
            fit=FIT_ICONS,
            left_out="fruit",
            load=load_icons,
            to_pixels=to_colours,
        ),
    )
}
"""Name -> world; the first is that of the embedded model."""
