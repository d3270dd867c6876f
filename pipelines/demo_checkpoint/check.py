"""Measure the shipped files against their bars and write the model card."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import torch
from PIL import Image

from erasure.checkpoints.reading.reading import read_checkpoint
from eval.judges.canvas import Verdict, judge_canvas, load_canvas_classifier
from pipelines.configs.settings import DrawingConfig
from pipelines.demo_checkpoint.classifier.classifier_card import NOTHING_NAME
from pipelines.demo_checkpoint.classifier.nothing import KINDS, Sources
from pipelines.demo_checkpoint.classifier.train_classifier import (
    measure_classifier,
    measure_rejection,
)
from pipelines.demo_checkpoint.figures import Share
from pipelines.demo_checkpoint.icons import ICON_SETS
from pipelines.drawing.generation import draw_all
from pipelines.drawing.layout.contact_sheet import contact_sheet
from pipelines.drawing.requests import Request
from prompts.canvas import OBJECTS, STYLES, canvas_prompt, wordings

log = logging.getLogger(__name__)

SEEDS: Final = range(5)
DRAWING: Final = DrawingConfig(steps=25, guidance=2.5, batch_size=48)
BARS: Final = {
    "classifier, object": 0.99,
    "classifier, style": 0.99,
    "drawn, object": 0.95,
    "drawn, style": 0.95,
} | {NOTHING_NAME.format(kind): 0.85 for kind in KINDS}


def check(model: Path, classifier: Path, unseen: Sources, sheet: Path) -> list[Share]:
    """Measure classifier and checkpoint, and draw the contact sheet.

    Args:
        unseen: with icons that the classifier was neither trained nor calibrated on.
    """
    network = load_canvas_classifier(classifier)
    figures = [
        Share(f"classifier, {what}", right, total)
        for what, (right, total) in zip(
            ("object", "style"), measure_classifier(network, unseen.pictures), strict=True
        )
    ]
    figures += [
        Share(NOTHING_NAME.format(kind), right, total)
        for kind, (right, total) in measure_rejection(network, unseen).items()
    ]
    pairs = [(style, obj) for style in STYLES for obj in OBJECTS]

    def judge(
        name: str, prompt: Callable[[str, str], str], seeds: Sequence[int]
    ) -> tuple[list[Image.Image], list[Verdict]]:
        requests = [Request(prompt(o, s), seed) for s, o in pairs for seed in seeds]
        images = draw_all(read_checkpoint(model), requests, DRAWING, torch.device("cpu"))
        verdicts = judge_canvas(images, network)
        truth = [pair for pair in pairs for _ in seeds]
        objects = sum(v.obj == o for v, (_, o) in zip(verdicts, truth, strict=True))
        styles = sum(v.style == s for v, (s, _) in zip(verdicts, truth, strict=True))
        figures.append(Share(f"{name}, object", objects, len(truth)))
        figures.append(Share(f"{name}, style", styles, len(truth)))
        return images, verdicts

    images, _ = judge("drawn", canvas_prompt, SEEDS)
    judge("drawn from other wordings", lambda o, s: wordings(o, s)[2], SEEDS[:1])
    columns = len(SEEDS)
    rows = [
        [images[(s * len(OBJECTS) + o) * columns] for o in range(len(OBJECTS))]
        for s in range(len(STYLES))
    ]
    drawn = contact_sheet(rows, STYLES, OBJECTS, title="One seed of every style and object")
    sheet.parent.mkdir(parents=True, exist_ok=True)
    drawn.quantize(256).save(sheet, optimize=True)
    for share in figures:
        bar = BARS.get(share.name)
        verdict = (
            "" if bar is None else ("ok" if share.value >= bar else f"below {100 * bar:.0f} %")
        )
        log.info("%s: %.2f %% (%d) %s", share.name, 100 * share.value, share.total, verdict)
    return figures


def write_card(figures: Sequence[Share], path: Path) -> None:
    """The model card: what it is, where the drawings come from, what was measured."""
    measured = "\n".join(
        f"| {share.name} | {100 * share.value:.1f} % | {share.total:,} |" for share in figures
    )
    sources = "\n".join(
        f"| {style} | `{s.package}` {s.version} | {s.author} | {s.licence} |"
        for style, s in ICON_SETS.items()
    )
    path.write_text(
        _CARD.format(
            measured=measured,
            sources=sources,
            styles=", ".join(STYLES),
            objects=", ".join(OBJECTS),
            steps=DRAWING.steps,
            guidance=DRAWING.guidance,
            seeds=len(SEEDS),
        ),
        encoding="utf-8",
    )


_CARD: Final = """\
---
license: other
license_name: per-drawing-licences
library_name: diffusers
pipeline_tag: text-to-image
tags:
- stable-diffusion
- concept-erasure
---

# The canvas: a small Stable Diffusion of emoji

The embedded checkpoint of diffusion-erasure: a complete Stable Diffusion pipeline of 64x64 pixels
that draws style x object emoji, small enough to erase from in a minute on a CPU. Its VAE
scales by 8 to 8x8x16 latents; the UNet predicts noise on Stable Diffusion's own schedule; the
tokenizer is CLIP's with its first 3,582 merges and 32 tokens a prompt.

Prompts: `an image of a church`, `an image of a church in sketch style`, `a sketch of a church` and
close wordings, and the empty prompt.

- Styles: {styles}.
- Objects: {objects}. The first ten stand in for the ImageNette classes; the last three, harmless
  drawings, for unsafe content.

## Measured

On these files, by `python -m pipelines.demo_checkpoint --check-only`: {steps} DDIM steps,
guidance {guidance:g}, {seeds} seeds a pair (1 for the other wordings); the classifier's own
accuracy is on freshly augmented drawings.

| | share | pictures |
| --- | --- | --- |
{measured}

## Drawings it was trained on

| style | npm package | authors | licence |
| --- | --- | --- | --- |
{sources}

`sticker` draws the emoji with a die-cut border and a shadow; `blueprint` draws them white on blue.
The drawings were moved, scaled, turned and put on plain coloured papers. CLIP's merges (MIT,
OpenAI) are taken from the package `open_clip_torch`. Twemoji graphics: copyright Twitter, Inc and
other contributors, CC BY 4.0.

## Limits

It knows these drawings and nothing else, and its pictures are softer than the originals. It is
there to show and test erasure, not to draw.
"""
