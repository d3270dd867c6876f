"""Measure the shipped files: the judge on real pictures, and the judge on what the model draws."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from PIL import Image

from erasure.checkpoints.reading.reading import read_checkpoint
from eval.judges.clothes import ClothesJudge, load_clothes_classifier
from pipelines.class_checkpoint.garments import Garments
from pipelines.class_checkpoint.recipe import CLASSES
from pipelines.class_checkpoint.train_judge import right_answers
from pipelines.configs.settings import DrawingConfig
from pipelines.demo_checkpoint.figures import Share
from pipelines.drawing.generation import draw_all
from pipelines.drawing.layout.contact_sheet import contact_sheet
from pipelines.drawing.requests import Request
from prompts.clothes import HEAD

log = logging.getLogger(__name__)

SEEDS: Final = range(10)
"""Pictures of each class."""
DRAWING: Final = DrawingConfig(steps=25, guidance=3.0, batch_size=50)
REAL, DRAWN = "judge, {}", "drawn, {}"
"""Names of the shares of one class."""


def check(model: Path, classifier: Path, unseen: Garments, sheet: Path) -> list[Share]:
    """Measure both, and draw a sheet of every class.

    Args:
        model: diffusers folder.
        classifier: its judge.
        unseen: pictures that neither was trained on.
    """
    network = load_clothes_classifier(classifier)
    counts = torch.bincount(unseen.labels, minlength=len(CLASSES)).tolist()
    right = right_answers(network, unseen).tolist()
    figures = _shares(REAL, right, counts)
    images = drawn_of(model)
    guesses = ClothesJudge(network, {})(images)
    seen = [judgement.guesses[HEAD][0].label for judgement in guesses]
    count = len(SEEDS)
    hits = [seen[n * count : (n + 1) * count].count(name) for n, name in enumerate(CLASSES)]
    figures += _shares(DRAWN, hits, [count] * len(CLASSES))
    rows = [images[n * count : (n + 1) * count] for n in range(len(CLASSES))]
    drawn = contact_sheet(rows, CLASSES, [f"seed {s}" for s in SEEDS], title="Ten seeds a class")
    sheet.parent.mkdir(parents=True, exist_ok=True)
    drawn.quantize(64).save(sheet, optimize=True)
    for share in figures:
        log.info("%s: %.1f %% of %d", share.name, 100 * share.value, share.total)
    return figures


def drawn_of(model: Path) -> list[Image.Image]:
    """Draw every class by every seed, one class after the other."""
    requests = [Request(name, seed) for name in CLASSES for seed in SEEDS]
    return draw_all(read_checkpoint(model), requests, DRAWING, torch.device("cpu"))


def _shares(name: str, right: Sequence[int], totals: Sequence[int]) -> list[Share]:
    """A share for each class, and that of all."""
    rows = [
        Share(name.format(label), hits, total)
        for label, hits, total in zip(CLASSES, right, totals, strict=True)
    ]
    return [*rows, Share(name.format("all"), sum(right), sum(totals))]
