"""Is it gone, is the rest intact? On the canvas, by the shipped classifier."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from erasure.checkpoints.checkpoint import Checkpoint
from eval.canvas import Verdict, judge_canvas, load_canvas_classifier
from pipelines.generation import Request, draw_all
from pipelines.progress import Reporter
from pipelines.settings import DrawingConfig
from prompts.canvas import OBJECTS, STYLES, canvas_prompt


@dataclass(frozen=True, slots=True)
class Rate:
    """How many pictures were recognised."""

    right: int
    total: int

    @property
    def share(self) -> float:
        """In [0, 1]."""
        return self.right / self.total if self.total else float("nan")


@dataclass(frozen=True, slots=True)
class CanvasRates:
    """What the classifier recognises in pictures of one checkpoint."""

    erased: Rate
    """Of pictures whose prompt names what was erased, those that show it."""
    objects: Rate
    """Of all others, those that show the object asked for."""
    styles: Rate
    """Of all others, those in the style asked for."""


def canvas_requests(seeds: Sequence[int]) -> list[tuple[str, str, Request]]:
    """(style, object, request) for every pair and seed."""
    return [
        (style, obj, Request(canvas_prompt(obj, style), seed))
        for style in STYLES
        for obj in OBJECTS
        for seed in seeds
    ]


def measure_canvas(
    checkpoint: Checkpoint,
    erased: Sequence[str],
    requests: Sequence[tuple[str, str, Request]],
    drawing: DrawingConfig,
    *,
    reporter: Reporter,
    name: str,
    device: torch.device | None = None,
) -> CanvasRates:
    """Draw and judge.

    Args:
        erased: objects, or styles.
        requests: from `canvas_requests`, or some of them.
    """
    with reporter.stage(f"draw and judge {name}", len(requests)) as tick:
        images = draw_all(
            checkpoint,
            [request for *_, request in requests],
            drawing,
            device or torch.device("cpu"),
            on_drawn=tick,
        )
        verdicts = judge_canvas(images, load_canvas_classifier())
    return count_canvas(erased, [(s, o) for s, o, _ in requests], verdicts)


def count_canvas(
    erased: Sequence[str], asked: Sequence[tuple[str, str]], verdicts: Sequence[Verdict]
) -> CanvasRates:
    """Count what was recognised; `asked` holds (style, object)."""
    gone, objects, styles = [], [], []
    for (style, obj), verdict in zip(asked, verdicts, strict=True):
        if obj in erased:
            gone.append(verdict.obj == obj)
        elif style in erased:
            gone.append(verdict.style == style)
        else:
            objects.append(verdict.obj == obj)
            styles.append(verdict.style == style)
    gone_rate, object_rate, style_rate = (
        Rate(sum(hits), len(hits)) for hits in (gone, objects, styles)
    )
    return CanvasRates(gone_rate, object_rate, style_rate)
