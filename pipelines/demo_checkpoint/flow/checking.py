"""Measure `demo-flow` against its bars, beside the embedded UNet, and write its card."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from erasure.storage.files import atomic
from eval.judges.canvas import load_canvas_classifier
from pipelines.demo_checkpoint.check import DRAWING, SEEDS
from pipelines.demo_checkpoint.figures import Share
from pipelines.demo_checkpoint.flow.training import CONFIG
from pipelines.demo_checkpoint.retrained.checking import drawings_of
from pipelines.drawing.layout.contact_sheet import contact_sheet
from prompts.canvas import OBJECTS, STYLES

log = logging.getLogger(__name__)

BARS: Final = {"object": 0.95, "style": 0.90}
"""Least shares of its pictures in which the classifier recognises what was asked for."""


def check_flow(folder: Path, sheet: Path) -> bool:
    """Draw and judge every pair, write the contact sheet and the folder's card.

    Returns:
        Whether both shares reach their bars.
    """
    own = drawings_of(folder, load_canvas_classifier())
    shares = own.shares(range(len(STYLES) * len(OBJECTS)))
    for share in shares:
        log.info("%s: %.2f %% of %d", share.name, 100 * share.value, share.total)
    rows = [
        [own.images[(s * len(OBJECTS) + o) * own.seeds] for o in range(len(OBJECTS))]
        for s in range(len(STYLES))
    ]
    drawn = contact_sheet(rows, STYLES, OBJECTS, title="demo-flow: one seed of every pair")
    sheet.parent.mkdir(parents=True, exist_ok=True)
    with atomic(sheet) as part, part.open("wb") as file:
        drawn.quantize(256).save(file, format="PNG", optimize=True)
    with atomic(folder / "README.md") as part:
        part.write_text(flow_card(shares), encoding="utf-8")
    return all(share.value >= BARS[share.name] for share in shares)


def flow_card(shares: Sequence[Share]) -> str:
    """The model card in Markdown."""
    measured = "\n".join(
        f"| {share.name} | {100 * share.value:.1f} % | {100 * BARS[share.name]:.0f} % "
        f"| {share.total} |"
        for share in shares
    )
    return _CARD.format(
        measured=measured,
        steps=DRAWING.steps,
        guidance=DRAWING.guidance,
        seeds=len(SEEDS),
        descent=CONFIG.steps,
    )


_CARD: Final = """\
---
license: other
license_name: per-drawing-licences
library_name: diffusers
pipeline_tag: text-to-image
tags:
- stable-diffusion-3
- concept-erasure
---

# The canvas by rectified flow: a small Stable Diffusion 3.5

A checkpoint of diffusion-erasure: a joint transformer in the form of Stable
Diffusion 3.5 Large (queries and keys normed; 5 blocks, 4.1 million weights), small enough to erase
from in minutes on a CPU. It draws the same style x object emoji as the [first](../demo/README.md),
and has its VAE, its tokenizer (20 tokens a prompt) and its prompts; two small CLIP text encoders
are its own, and there is no T5, so zeros stand in the place of its tokens. It was trained on the
same pictures for {descent:,} steps of 32, at logit-normal times (arXiv:2403.03206).

## Measured

By `python -m pipelines.demo_checkpoint.flow --check-only`: {steps} Euler steps, guidance
{guidance:g}, {seeds} seeds a pair, judged by the canvas classifier.

| | share | wanted | pictures |
| --- | --- | --- | --- |
{measured}

## Drawings and licences

Those of the [first checkpoint](../demo/README.md).
"""
