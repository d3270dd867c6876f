"""The cards of the class-conditional checkpoint and of its judge."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipelines.class_checkpoint.check import DRAWING, DRAWN, REAL, SEEDS
from pipelines.class_checkpoint.recipe import BATCH, FIT
from pipelines.demo_checkpoint.figures import Share
from prompts.clothes import CLOTHES


def write_card(figures: Sequence[Share], path: Path) -> None:
    """Write the model card: what it is, what it was trained on, what was measured."""
    text = _CARD.format(
        classes=", ".join(f"{n} {name}" for n, name in enumerate(CLOTHES)),
        steps=FIT.steps,
        batch=BATCH,
        measured=_rows(figures, DRAWN),
        seeds=len(SEEDS),
        sampling=DRAWING.steps,
        guidance=DRAWING.guidance,
    )
    path.write_text(text, encoding="utf-8")


def write_judge_card(figures: Sequence[Share], path: Path) -> None:
    """Write the card of the judge beside its weights."""
    text = _JUDGE.format(measured=_rows(figures, REAL), drawn=_rows(figures, DRAWN))
    path.write_text(text, encoding="utf-8")


def _rows(figures: Sequence[Share], name: str) -> str:
    shares = {share.name: share for share in figures}
    return "\n".join(
        f"| {label} | {100 * one.value:.1f} % | {one.total:,} |"
        for label in (*CLOTHES, "all")
        if (one := shares.get(name.format(label))) is not None
    )


_CARD: Final = """\
---
license: mit
library_name: diffusers
tags:
- class-conditional
- concept-erasure
---

# Clothes: a small class-conditional DDPM

The embedded class-conditional model of diffusion-erasure: diffusers' `UNet2DModel` with a table of
labels, 2.2 million weights, that draws Fashion-MNIST in 32x32 pixels. It is told a number from 0 to
9, or 10 for no class: {classes}.

It was trained on the 60,000 pictures of Fashion-MNIST (Zalando SE, MIT licence; Debian package
`dataset-fashion-mnist`), {steps:,} steps of {batch} pictures, with the label dropped for a tenth of
the samples, on the noise schedule of DDPM (1,000 steps, linear betas, noise prediction). The
weights are a moving average. `retraining.json` holds the recipe; `make ddpm-checkpoint` trains it
again.

## Measured

Share of {seeds} pictures a class in which the judge `clothes` sees that class; {sampling} DDIM
steps with fresh noise (eta 1) and guidance {guidance:g}, by
`python -m pipelines.class_checkpoint --check-only`. The judge's own error is in
`clothes_classifier.md`.

| | share | pictures |
| --- | --- | --- |
{measured}

## Limits

It saw each picture about once, and knows ten kinds of clothes. Without fresh noise (eta 0) its
pictures keep some of their noise. It is there to show and test erasure, not to draw.
"""

_JUDGE: Final = """\
# The judge of clothes

`clothes_classifier.safetensors` says which of the ten classes of Fashion-MNIST a picture shows: a
residual network on 32x32 grey pixels, trained on the 60,000 pictures to train on by
`make ddpm-checkpoint`, with the training loop of `erasure classify`.

## Its error: real pictures that it was not trained on

| | named rightly | pictures |
| --- | --- | --- |
{measured}

## Pictures of the embedded class-conditional model

| | seen as what was asked for | pictures |
| --- | --- | --- |
{drawn}

## Limits

It has no answer for a picture that shows none of the ten classes: it names one all the same, so a
share of 0 does not say that what is drawn are clothes.
"""
