"""The user's own pictures for an erasure: from a folder, or from a data set."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch

from erasure.checkpoints.wording import listed
from erasure.diffusion.data.prompted import PromptedPixels
from erasure.errors import ConfigError
from erasure.local_paths import last_part, typed_path
from eval.pictures.picture_bytes import to_bytes
from pipelines.configs.settings import PicturesConfig
from pipelines.data.picture_dataset import DatasetSource, dataset_pictures
from pipelines.data.picture_folder import folder_pictures
from pipelines.drawing.pictures import Picture
from prompts.concepts.plan import ConceptPlan
from prompts.suites.imagenette import CLASSES, find_label, label_prompts

Role = Literal["forget", "retain"]


def own_pictures(
    role: Role, source: PicturesConfig, plan: ConceptPlan, *, size: int, seed: int
) -> Iterator[PromptedPixels]:
    """Those of the folder and of the data set that a source names; none where it names none.

    Args:
        role: what they show.
        source: where they are.
        plan: whose concepts decide the labels of a data set that has no prompt.
        size: pixels a side.
        seed: which of too many are taken.

    Raises:
        ConfigError: a source has no picture, or one that cannot be read.
    """
    if source.folder is not None:
        yield _prompted(
            folder_pictures(
                typed_path(source.folder),
                size=size,
                prompt=source.prompt,
                limit=source.limit,
                seed=seed,
            )
        )
    if source.dataset is not None:
        data = DatasetSource(
            name=source.dataset,
            config=source.dataset_config,
            split=source.dataset_split,
            prompt=source.prompt,
            label_prompts=None if source.prompt else _labels(role, plan, source.dataset),
            limit=source.limit,
            seed=seed,
        )
        yield _prompted(dataset_pictures(data, size=size))


def mixed_said(role: Role, source: PicturesConfig, own: Sequence[PromptedPixels]) -> list[str]:
    """What is said of pictures of several sources: which, and how many each gives; else nothing.

    An option over a recipe adds a source to those of the recipe and of the defaults.

    Args:
        own: what `own_pictures` gives of the source.
    """
    folder = source.folder and f"the folder {last_part(source.folder)}"
    names = filter(None, (folder, source.dataset and f"the data set {source.dataset}"))
    parts = [f"{len(one.pixels):,} of {name}" for name, one in zip(names, own, strict=False)]
    if source.drawn:
        parts.append(f"{source.drawn:,} that the model draws")
    if not own or len(parts) < 2:
        return []
    drawn = f"; --{role}-drawn 0 leaves these out" if source.drawn else ""
    return [f"note: the pictures to {role} are {listed(parts)}, all together{drawn}"]


def _labels(role: Role, plan: ConceptPlan, dataset: str) -> dict[int, str]:
    """ImageNette's class to forget, or all the others to retain."""
    labels = []
    for part in plan.each:
        label = find_label(part.concept)
        if label is None:
            raise ConfigError(
                f"{part.concept!r} is no class of ImageNette, so the labels of {dataset} say "
                f"nothing of it; set data.{role}.prompt"
            )
        labels.append(label)
    if role == "forget":
        return label_prompts(labels)
    return label_prompts(n for n in range(len(CLASSES)) if n not in labels)


def _prompted(pictures: Iterable[Picture]) -> PromptedPixels:
    taken = list(pictures)
    if not taken:
        raise ConfigError("a source has no pictures; check data.forget and data.retain")
    return PromptedPixels(
        torch.stack([to_bytes(picture.image) for picture in taken]), [p.prompt for p in taken]
    )
