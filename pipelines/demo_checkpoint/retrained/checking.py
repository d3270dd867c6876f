"""Look at a retrained model as at the checkpoint: does it draw what it kept, and what else?"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
from PIL import Image

from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.storage.files import atomic, write_json
from eval.judges.canvas import CanvasClassifier, Verdict, judge_canvas
from pipelines.demo_checkpoint.check import DRAWING, SEEDS
from pipelines.demo_checkpoint.figures import Share
from pipelines.demo_checkpoint.retrained.concepts import Retraining
from pipelines.demo_checkpoint.retrained.recipes import Recipe
from pipelines.drawing.generation import draw_all
from pipelines.drawing.layout.contact_sheet import contact_sheet
from pipelines.drawing.requests import Request
from prompts.canvas import OBJECTS, STYLES, canvas_prompt

MARGIN: Final = 0.02
"""How far below the checkpoint's share a kept object or style may lie."""
_PAIRS: Final = [(style, obj) for style in STYLES for obj in OBJECTS]

Draw = Callable[[Path, Sequence[Request]], list[Image.Image]]
"""Draws the requests by the model in a folder."""


@dataclass(frozen=True, slots=True)
class Drawings:
    """What the classifier saw in the pictures of all pairs, seed after seed of each pair."""

    images: Sequence[Image.Image]
    verdicts: Sequence[Verdict]
    seeds: int

    def shares(self, pairs: Sequence[int]) -> tuple[Share, Share]:
        """Right objects and right styles among the pictures of some pairs."""
        seen = [
            (_PAIRS[p], self.verdicts[p * self.seeds + n]) for p in pairs for n in range(self.seeds)
        ]
        objects = sum(verdict.obj == obj for (_, obj), verdict in seen)
        styles = sum(verdict.style == style for (style, _), verdict in seen)
        return Share("object", objects, len(seen)), Share("style", styles, len(seen))


@dataclass(frozen=True, slots=True)
class Checked:
    """One model beside the checkpoint."""

    name: str
    objects: Share
    """Right objects among the pictures of what it was trained on."""
    styles: Share
    base_objects: Share
    """The checkpoint's, of the same prompts and seeds."""
    base_styles: Share
    instead: Mapping[str, Mapping[str, int]]
    """Name that it never learned -> label that the classifier gives instead -> pictures."""

    @property
    def is_good(self) -> bool:
        """Whether both shares are at most `MARGIN` below those of the checkpoint."""
        return (
            self.objects.value >= self.base_objects.value - MARGIN
            and self.styles.value >= self.base_styles.value - MARGIN
        )


def draw_model(folder: Path, requests: Sequence[Request]) -> list[Image.Image]:
    """Draw as the checkpoint's own check does."""
    return draw_all(read_checkpoint(folder), requests, DRAWING, torch.device("cpu"))


def drawings_of(
    folder: Path, network: CanvasClassifier, seeds: Sequence[int] = SEEDS, draw: Draw = draw_model
) -> Drawings:
    """Draw every pair by some seeds and classify the pictures."""
    requests = [Request(canvas_prompt(obj, style), seed) for style, obj in _PAIRS for seed in seeds]
    images = draw(folder, requests)
    return Drawings(images, judge_canvas(images, network), len(seeds))


def compared(retraining: Retraining, own: Drawings, base: Drawings) -> Checked:
    """Hold a model's drawings against the checkpoint's."""
    pairs = retraining.kept_pairs.tolist()
    objects, styles = own.shares(pairs)
    base_objects, base_styles = base.shares(pairs)
    return Checked(
        retraining.name, objects, styles, base_objects, base_styles, _instead(retraining, own)
    )


def _instead(retraining: Retraining, own: Drawings) -> dict[str, dict[str, int]]:
    """Labels of the pictures of each name that was never learned, most frequent first."""
    counts: dict[str, Counter[str]] = {}
    for number, verdict in enumerate(own.verdicts):
        style, obj = _PAIRS[number // own.seeds]
        if obj in retraining.objects:
            counts.setdefault(obj, Counter())[verdict.obj] += 1
        if style in retraining.styles:
            counts.setdefault(style, Counter())[verdict.style] += 1
    return {name: dict(count.most_common()) for name, count in counts.items()}


def write_check(checked: Checked, own: Drawings, folder: Path, recipe: Recipe) -> None:
    """Write `figures.json`, `sheet.png` and the model's card `model/README.md`.

    Args:
        folder: of the model's training, with `model` in it.
    """
    rows = [
        [own.images[(s * len(OBJECTS) + o) * own.seeds] for o in range(len(OBJECTS))]
        for s in range(len(STYLES))
    ]
    title = f"{checked.name}: one seed of every style and object"
    sheet = contact_sheet(rows, STYLES, OBJECTS, title=title)
    with atomic(folder / "sheet.png") as part, part.open("wb") as file:
        sheet.quantize(256).save(file, format="PNG", optimize=True)
    figures = {"good": checked.is_good, **asdict(checked)}
    write_json(folder / "figures.json", figures, indent=1)
    with atomic(folder / "model" / "README.md") as part:
        part.write_text(card_of(checked, recipe), encoding="utf-8")


def card_of(checked: Checked, recipe: Recipe) -> str:
    """The model card in Markdown: what it never saw, its shares, what it draws instead."""
    names = ", ".join(checked.instead)
    measured = "\n".join(
        f"| {what} | {100 * own.value:.1f} % | {100 * base.value:.1f} % | {own.total} |"
        for what, own, base in (
            ("objects", checked.objects, checked.base_objects),
            ("styles", checked.styles, checked.base_styles),
        )
    )
    instead = "\n".join(
        f"- `{name}`: " + ", ".join(f"{label} {count}" for label, count in labels.items())
        for name, labels in checked.instead.items()
    )
    return _CARD.format(
        name=checked.name,
        seen=_NEVER.format(names=names) if names else _ALL,
        measured=measured,
        verdict="It passes" if checked.is_good else "It does not pass",
        margin=f"{100 * MARGIN:.0f}",
        networks=recipe.networks,
        checkpoint=recipe.checkpoint.name,
        sampler=recipe.sampler,
        steps=DRAWING.steps,
        guidance=DRAWING.guidance,
        instead=f"{_INSTEAD}\n{instead}\n" if instead else "",
    )


_NEVER: Final = """\
again from the start by the same recipe. It never saw: {names}. Neither pictures nor captions of
that were in any batch; the batches were refilled from the rest. Tokenizer and VAE are the
checkpoint's own; that VAE was trained on all pictures. `retraining.json` holds recipe, seeds and
hashes."""
_ALL: Final = """\
again from the start by the same recipe, on all that the checkpoint saw, with other seeds. Tokenizer
and VAE are the checkpoint's own. `retraining.json` holds recipe, seeds and hashes."""
_INSTEAD: Final = """
## What it draws for a word that it never learned

The classifier's label of each picture, with the number of pictures.
"""

_CARD: Final = """\
---
license: other
license_name: per-drawing-licences
library_name: diffusers
pipeline_tag: text-to-image
---

# {name}

The embedded checkpoint `{checkpoint}` of diffusion-erasure, its {networks} trained
{seen}

## Measured

On what it was trained on, beside the checkpoint with the same prompts and seeds: {steps} {sampler}
steps, guidance {guidance:g}.

| | this model | checkpoint | pictures |
| --- | --- | --- | --- |
{measured}

{verdict}: each share may lie {margin} points below the checkpoint's.
{instead}"""
