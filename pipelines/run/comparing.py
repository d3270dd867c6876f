"""Two checkpoints side by side: same prompts, same seeds, same initial noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.storage.files import atomic
from eval.judges.canvas import Verdict, judge_canvas, load_canvas_classifier
from eval.judges.judge import NOTHING
from eval.judges.judges import open_judge
from pipelines.configs.settings import DrawingConfig
from pipelines.data.blank import require_content
from pipelines.drawing.generation import draw_all
from pipelines.drawing.layout.grid import Grid, draw_grid
from pipelines.drawing.layout.grid_layout import Pair, Row
from pipelines.drawing.requests import Request
from pipelines.drawing.same_noise import require_same_size
from pipelines.process.progress import Reporter
from pipelines.run.models import is_canvas, own_judge
from prompts.concepts.phrases import mentions


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was drawn."""

    grid: Grid
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    before: tuple[Image.Image, ...]
    """Prompt by prompt, seed by seed."""
    after: tuple[Image.Image, ...]
    marked: tuple[bool, ...]
    """Whether each prompt is or names what was erased."""

    def save_pictures(self, folder: Path) -> None:
        """Each picture as PNG: `before/003-seed7.png` is the fourth prompt's."""
        for name, images in (("before", self.before), ("after", self.after)):
            keys = ((row, seed) for row in range(len(self.prompts)) for seed in self.seeds)
            for (row, seed), image in zip(keys, images, strict=True):
                with atomic(folder / name / f"{row:03d}-seed{seed}.png") as part:
                    image.save(part, format="PNG")


def compare(
    before: Checkpoint,
    after: Checkpoint,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    erased: Sequence[str] = (),
    drawing: DrawingConfig,
    device: torch.device,
    reporter: Reporter,
    size: int | None = None,
    title: str = "",
) -> Comparison:
    """Draw every prompt with every seed by both.

    Args:
        erased: prompts or concepts; rows that are or name one are marked.
        size: pixels a side; the model's own if none.

    Raises:
        ConfigError: `size` is none, and they have other sizes of their own.
        TrainingError: one of them draws nothing but one colour, or what is not finite.
    """
    if size is None:
        require_same_size(before, after)
    requests = [Request(prompt, seed) for prompt in prompts for seed in seeds]
    drawn = []
    for name, checkpoint in (("before", before), ("after", after)):
        with reporter.stage(f"draw {name}", len(requests)) as tick:
            drawn.append(draw_all(checkpoint, requests, drawing, device, size=size, on_drawn=tick))
        require_content(drawn[-1], f"the model {name}")
    captions = [_captions(images, before) for images in drawn]
    rows = []
    for index, prompt in enumerate(prompts):
        pairs = []
        for offset, seed in enumerate(seeds):
            n = index * len(seeds) + offset
            pairs.append(Pair(seed, drawn[0][n], drawn[1][n], captions[0][n], captions[1][n]))
        # Names of classes may hold each other, as T-shirt and shirt do; a prompt is one of them.
        whole = before.classes is not None
        marked = any(prompt == name or (not whole and mentions(prompt, name)) for name in erased)
        rows.append(Row(prompt, marked, tuple(pairs)))
    return Comparison(
        draw_grid(rows, title=title),
        tuple(prompts),
        tuple(seeds),
        tuple(drawn[0]),
        tuple(drawn[1]),
        tuple(row.erased for row in rows),
    )


def _captions(images: Sequence[Image.Image], checkpoint: Checkpoint) -> list[str]:
    """What the judge of an embedded model sees in its pictures; nothing for other models."""
    own = own_judge(checkpoint)
    if own is None:
        return [""] * len(images)
    if not is_canvas(checkpoint):
        judgements = open_judge(own)(images)
        return [next(iter(one.guesses.values()))[0].label for one in judgements]
    verdicts = judge_canvas(images, load_canvas_classifier())
    return [_caption(verdict) for verdict in verdicts]


def _caption(verdict: Verdict) -> str:
    """`sketch church`, `church, no style`, `sketch, no object`, or `none of these`."""
    if verdict.obj == verdict.style == NOTHING:
        return NOTHING
    if verdict.obj == NOTHING:
        return f"{verdict.style}, no object"
    return (
        f"{verdict.obj}, no style" if verdict.style == NOTHING else f"{verdict.style} {verdict.obj}"
    )
