"""The judges of an evaluation, in the words of its suite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image

from eval.errors import EvalError
from eval.judges.imagenet import ImageNetJudge
from eval.judges.judge import Guess, Judge, Judgement
from eval.judges.judges import JUDGES, open_judge
from pipelines.evaluation.settings import EvaluateRecipe
from prompts.suites.imagenette import CLASSES


@dataclass(frozen=True, slots=True)
class RenamedJudge:
    """A judge whose labels go by other names: those of the suite."""

    judge: Judge
    names: Mapping[str, str]
    """Label of the judge -> label of the suite; what is not named keeps its own."""

    @property
    def name(self) -> str:
        """The judge's own."""
        return self.judge.name

    @property
    def protocol(self) -> Mapping[str, str | int | float]:
        """The judge's own: names change no number."""
        return self.judge.protocol

    def __call__(self, images: Sequence[Image.Image], /) -> list[Judgement]:
        """What the judge says, renamed."""
        return [self._renamed(judgement) for judgement in self.judge(images)]

    def _renamed(self, judgement: Judgement) -> Judgement:
        guesses = {
            head: tuple(Guess(self.names.get(g.label, g.label), g.score) for g in listed)
            for head, listed in judgement.guesses.items()
        }
        return replace(judgement, guesses=guesses)


def open_judges(recipe: EvaluateRecipe, device: torch.device) -> dict[str, Judge]:
    """Name -> judge, in the order given.

    Raises:
        EvalError: one is given twice, is unknown, not installed, or its weights cannot be had.
    """
    judges: dict[str, Judge] = {}
    for text in recipe.judges:
        head, equals, name = text.rpartition("=")
        options: dict[str, Any] = {"head": head} if equals else {}
        if recipe.labels is not None and name not in JUDGES:
            options["labels"] = recipe.labels
        judge = open_judge(name, device=device, **options)
        if recipe.suite == "imagenette" and isinstance(judge, ImageNetJudge):
            own = {judge.labels[one.imagenet_index]: one.name for one in CLASSES}
            judge = RenamedJudge(judge, own)
        key = f"{head}={judge.name}" if equals else judge.name
        if key in judges:
            raise EvalError(f"the judge {key} is given twice; give it once")
        judges[key] = judge
    return judges
