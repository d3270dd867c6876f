"""Measure a model and its judge: the judge on real pictures, and on what the model draws."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from PIL import Image

from erasure.checkpoints.reading.reading import read_checkpoint
from eval.judges.judge import Judge
from pipelines.class_checkpoint.pictures import ClassPictures, image_of
from pipelines.class_checkpoint.worlds import World, best_of
from pipelines.configs.settings import DrawingConfig
from pipelines.demo_checkpoint.figures import Share
from pipelines.drawing.generation import draw_all
from pipelines.drawing.layout.contact_sheet import contact_sheet
from pipelines.drawing.requests import Request

log = logging.getLogger(__name__)

SEEDS: Final = range(10)
"""Pictures of each class."""
DRAWING: Final = DrawingConfig(steps=25, guidance=3.0, batch_size=50)
_BATCH: Final = 500
REAL, DRAWN = "judge, {}", "drawn, {}"
"""Names of the shares of one class."""


def check(
    world: World, model: Path, judge: Judge, unseen: ClassPictures, sheet: Path
) -> list[Share]:
    """Measure both, and draw a sheet of every class.

    Args:
        model: diffusers folder.
        judge: says which class a picture shows.
        unseen: pictures that neither was trained on.
    """
    classes = world.classes
    counts = torch.bincount(unseen.labels, minlength=len(classes)).tolist()
    right = right_answers(world, judge, unseen)
    figures = _shares(REAL, classes, [right[name] for name in classes], counts)
    images = drawn_of(model, classes)
    seen = best_of(judge, world.head, images)
    count = len(SEEDS)
    hits = [seen[n * count : (n + 1) * count].count(name) for n, name in enumerate(classes)]
    figures += _shares(DRAWN, classes, hits, [count] * len(classes))
    rows = [images[n * count : (n + 1) * count] for n in range(len(classes))]
    drawn = contact_sheet(rows, classes, [f"seed {s}" for s in SEEDS], title="Ten seeds a class")
    sheet.parent.mkdir(parents=True, exist_ok=True)
    drawn.quantize(64).save(sheet, optimize=True)
    for share in figures:
        log.info("%s: %.1f %% of %d", share.name, 100 * share.value, share.total)
    return figures


def right_answers(world: World, judge: Judge, pictures: ClassPictures) -> Counter[str]:
    """Class -> how many of its pictures the judge calls by its name."""
    right: Counter[str] = Counter()
    for pixels, labels in zip(
        pictures.pixels.split(_BATCH), pictures.labels.split(_BATCH), strict=True
    ):
        wanted = [world.classes[label] for label in labels.tolist()]
        seen = best_of(judge, world.head, [image_of(one) for one in pixels])
        right.update(name for name, answer in zip(wanted, seen, strict=True) if name == answer)
    return right


def drawn_of(model: Path, classes: Sequence[str]) -> list[Image.Image]:
    """Draw every class by every seed, one class after the other."""
    requests = [Request(name, seed) for name in classes for seed in SEEDS]
    return draw_all(read_checkpoint(model), requests, DRAWING, torch.device("cpu"))


def _shares(
    name: str, classes: Sequence[str], right: Sequence[int], totals: Sequence[int]
) -> list[Share]:
    """A share for each class, and that of all."""
    rows = [
        Share(name.format(label), hits, total)
        for label, hits, total in zip(classes, right, totals, strict=True)
    ]
    return [*rows, Share(name.format("all"), sum(right), sum(totals))]
