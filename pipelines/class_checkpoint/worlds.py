"""What the recipe can be trained on: clothes, whose model comes with the package, and icons."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eval.judges.canvas import open_canvas
from eval.judges.clothes import ClothesJudge, load_clothes_classifier
from eval.judges.judge import Judge
from pipelines.class_checkpoint.garments import load_garments
from pipelines.class_checkpoint.icons import CLASSES as ICONS
from pipelines.class_checkpoint.icons import load_icons
from pipelines.class_checkpoint.pictures import ClassPictures
from pipelines.class_checkpoint.recipe import FIT, FIT_ICONS, build_network
from pipelines.class_checkpoint.variants import Variant
from pipelines.demo_checkpoint.fit import FitConfig
from pipelines.demo_checkpoint.retrained.concepts import OTHER_SEED
from pipelines.run.models import CLOTHES_NAME
from prompts.clothes import CLOTHES, HEAD

Halves = tuple[ClassPictures, ClassPictures]
"""Pictures to train on, and others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Pictures of ten classes, how a model of them is trained, and who tells them."""

    name: str
    classes: tuple[str, ...]
    channels: int
    widths: tuple[int, ...]
    """Channels of the network's levels."""
    model_name: str
    """`_name_or_path` in the model's index."""
    fit: FitConfig
    left_out: str
    """The class that the retrained variant never sees."""
    load: Callable[[Path | None], Halves]
    """Reads or draws the pictures, from a folder or from what usually is there."""
    judge: Callable[[Path], Judge]
    """Opens who says which class a picture shows; of a judge that is trained with the model, its
    file is given."""
    head: str
    """What the judge calls its answer."""

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
        return build_network(seed, len(self.classes), self.channels, self.widths)


def best_of(judge: Judge, head: str, images: Sequence[Any]) -> list[str]:
    """What the judge sees in each picture before all else."""
    return [judgement.guesses[head][0].label for judgement in judge(images)]


WORLDS: Final[Mapping[str, World]] = {
    each.name: each
    for each in (
        World(
            name="clothes",
            classes=CLOTHES,
            channels=1,
            widths=(8, 16, 48, 128),
            model_name=CLOTHES_NAME,
            fit=FIT,
            left_out="sneaker",
            load=load_garments,
            judge=lambda path: ClothesJudge(load_clothes_classifier(path), {}),
            head=HEAD,
        ),
        World(
            name="icons",
            classes=ICONS,
            channels=3,
            widths=(16, 32, 64, 112),
            model_name="diffusion-erasure-icons",
            fit=FIT_ICONS,
            left_out="church",
            load=load_icons,
            judge=lambda _: open_canvas(),
            head="object",
        ),
    )
}
"""Name -> world; the first is that of the embedded model."""
