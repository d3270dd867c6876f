"""The judges of an evaluation, in the words of its suite."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image

from eval.errors import EvalError
from eval.judges.imagenet import ImageNetJudge
from eval.judges.judge import Guess, Judge, Judgement, rejecting_heads
from eval.judges.judges import JUDGES, open_judge
from pipelines.evaluation.settings import EvaluateRecipe
from prompts.nearest import nearest
from prompts.suites.case import PromptSet
from prompts.suites.imagenette import CLASSES

_log = logging.getLogger(__name__)


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


def require_named(judges: Mapping[str, Judge], suite: PromptSet, erased: Collection[str]) -> None:
    """Find the labels of a suite that the judge of their kind does not know: none of their pictures
    would be recognised, before or after. They are told, as long as others are known.

    Raises:
        EvalError: what was erased is among them, or all labels of a kind are.
    """
    asked: dict[str, dict[str, None]] = {}
    for case in suite.cases:
        for head, label in case.labels.items():
            asked.setdefault(head, {})[label] = None
    for head in suite.heads:
        owners = ((name, known_labels(judge).get(head)) for name, judge in judges.items())
        name, known = next(((n, k) for n, k in owners if k), ("", ()))
        lost = [label for label in asked.get(head, ()) if known and label not in known]
        if not lost:
            continue
        gone = [label for label in lost if label in erased]
        said = (
            f"the judge {name} has no {head} {(gone or lost)[0]!r} and would recognise it in no "
            f"picture; {nearest((gone or lost)[0], known)}"
        )
        if gone or len(lost) == len(asked[head]):
            raise EvalError(f"{said}. Write labels as the judge does, or give another --judge")
        _log.warning(
            "%s (labels that it does not know: %d of %d)", said, len(lost), len(asked[head])
        )


def known_labels(judge: Judge) -> dict[str, tuple[str, ...]]:
    """Head -> all labels that a judge can guess; empty for one that guesses none, or says not
    which."""
    if isinstance(judge, RenamedJudge):
        own = known_labels(judge.judge)
        return {h: tuple(judge.names.get(n, n) for n in labels) for h, labels in own.items()}
    if heads := rejecting_heads(judge):
        return dict(heads)
    labels = getattr(judge, "labels", ())
    return {getattr(judge, "head", "class"): tuple(labels)} if labels else {}
