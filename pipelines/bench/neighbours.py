"""The pictures of what lies nearest to a concept: which labels, and how they are asked for."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from erasure.errors import ConfigError
from erasure.storage.files import atomic
from pipelines.audit.asking.in_words import in_place
from pipelines.audit.damage.nearness import ranked_labels
from pipelines.audit.damage.vocabulary import vocabulary_of
from pipelines.bench.world import World
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter
from pipelines.run.judging.cell_judge import cell_judge
from pipelines.run.models import own_judge
from prompts.canvas import OBJECTS, STYLES, canvas_prompt

NEAREST: Final = 4
"""Labels that are drawn."""
SEED: Final = 1000
"""First seed of their pictures; the suite draws by others."""


@dataclass(frozen=True, slots=True)
class NoJudge:
    """The recipe names no judge: the canvas has its own."""

    judge: str | None = None
    labels: str | None = None


def nearest_labels(world: World, concept: str) -> tuple[str, ...]:
    """The labels whose texts lie nearest to the concept's, for the base's own text encoder.

    Raises:
        ConfigError: the base does not draw the canvas, whose judge knows the labels.
    """
    if not world.canvas:
        raise ConfigError(
            "neighbours are drawn where the model understands the prompts of the canvas, which "
            "this one does not; give --neighbours 0"
        )
    plan = world.plan(concept)
    judge = cell_judge(NoJudge(), plan, own=own_judge(world.base))
    vocabulary = None if judge is None else vocabulary_of(judge)
    assert vocabulary is not None, "the canvas has a judge of all its labels"
    painter = Painter(world.base, DrawingConfig(steps=1), world.device)
    first, names = plan.forget[:1], (*plan.erased, plan.concept)
    prompts = {label: in_place(first, names, label)[0] for label in vocabulary.others}
    ranked = ranked_labels(painter, world.base, first[0], prompts)
    return tuple(one.label for one in ranked[:NEAREST])


def write_prompts(labels: Sequence[str], kind: str, count: int, path: Path) -> None:
    """Write a suite of `count` pictures, the labels in turn, each with the other kind in turn.

    Args:
        kind: `style` where the labels are styles, else they are objects.
    """
    with atomic(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["prompt", "object", "style", "seed"])
        for n in range(count):
            label, turn = labels[n % len(labels)], n // len(labels) + n % len(labels)
            if kind == "style":
                shown, style = OBJECTS[(5 * turn) % len(OBJECTS)], label
            else:
                shown, style = label, STYLES[turn % len(STYLES)]
            writer.writerow([canvas_prompt(shown, style), shown, style, SEED + n])
