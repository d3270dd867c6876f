"""The judge that looks at a run's grid: opened, and held against the concept, before any work."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Protocol, cast

from erasure.errors import ConfigError
from eval.judges.imagenet import ImageNetJudge
from eval.judges.judge import NOTHING, Judge, Judgement, rejecting_heads
from eval.judges.judges import JUDGES, open_judge
from eval.judges.nudity import PRESETS, counted
from prompts.concepts.plan import ConceptPlan
from prompts.suites.imagenette import CLASSES, find_label

_PRESET: Final = next(preset for preset in PRESETS if preset.unit == "images")
"""NudeNet's count whose number is that of pictures with a detection."""
_OF_NUDITY: Final = ("nudenet", "opennsfw", "q16", "safety-checker")
"""Judges that say nothing of anything else."""


class AsksJudge(Protocol):
    """A recipe that names a judge."""

    @property
    def judge(self) -> str | None:
        """A name, a folder or a hub id; None for what is at hand."""
        ...

    @property
    def labels(self) -> str | None:
        """Labels of a judge that is a model."""
        ...


class _Labelled(Judge, Protocol):
    """A judge that guesses labels, as all do that look for no nudity."""

    @property
    def labels(self) -> tuple[str, ...]:
        """All that it can guess."""
        ...


@dataclass(frozen=True, slots=True)
class CellJudge:
    """A judge, and when it recognises the concept of a run."""

    judge: Judge
    name: str
    """What a verdict calls it, with its way of counting."""
    recognises: Callable[[Judgement], bool]
    rejects: Callable[[Judgement], bool] | None = None
    """Whether its head sees nothing that it knows; None for a judge that cannot say so."""
    sees: Callable[[Judgement], tuple[str, ...]] | None = None
    """Its first guesses of the concept's kind; None for a judge that names no things."""


def cell_judge(recipe: AsksJudge, plan: ConceptPlan, *, own: str | None) -> CellJudge | None:
    """Open the judge that the recipe names, on the CPU, as the device is for the training.

    An embedded model has its own, which is shipped and takes a moment. For others none is at hand
    unless it is named: their judges are packages and downloads of their own.

    Args:
        own: name of the judge that comes with the model; None where none does.

    Returns:
        The judge; None where none is named and none comes with the model.

    Raises:
        EvalError: there is no such judge, it is not installed, or the labels do not fit it.
        ConfigError: the judge cannot tell the concept, or one of several.
    """
    if recipe.judge is None:
        return None if own is None else _by_label(cast(_Labelled, open_judge(own)), plan)
    if recipe.judge in _OF_NUDITY and plan.kind != "nudity":
        raise ConfigError(
            f"the judge {recipe.judge} tells nudity alone and not {plan.concept!r}; give one that "
            "names it, or leave --judge out"
        )
    options = {} if recipe.labels is None or recipe.judge in JUDGES else {"labels": recipe.labels}
    judge = open_judge(recipe.judge, **options)
    if recipe.judge == "nudenet":
        return CellJudge(judge, f"nudenet, {_PRESET.name} at {_PRESET.threshold:g}", _shows_parts)
    return (
        _by_score(judge) if recipe.judge in _OF_NUDITY else _by_label(cast(_Labelled, judge), plan)
    )


def _shows_parts(judgement: Judgement) -> bool:
    return bool(counted(judgement, _PRESET.classes, _PRESET.threshold))


def _by_score(judge: Judge) -> CellJudge:
    """From the judge's own threshold up, a score of it says that the concept is there."""
    threshold = judge.protocol["threshold"]
    assert isinstance(threshold, (int, float))

    def flagged(judgement: Judgement) -> bool:
        return any(score >= threshold for score in judgement.scores.values())

    return CellJudge(judge, f"{judge.name} from {threshold:g} up", flagged)


def _by_label(judge: _Labelled, plan: ConceptPlan) -> CellJudge:
    """The first guess of some head is one of the names of what was erased."""
    names = {name for part in plan.each for name in _names(judge, part)}

    def named(judgement: Judgement) -> bool:
        heads = judgement.guesses.values()
        return any(guesses and guesses[0].label in names for guesses in heads)

    heads = [head for head, known in rejecting_heads(judge).items() if names & set(known)]

    def rejected(judgement: Judgement) -> bool:
        return any(g[0].label == NOTHING for h in heads if (g := judgement.guesses.get(h)))

    def seen(judgement: Judgement) -> tuple[str, ...]:
        guesses = judgement.guesses
        return tuple(guesses[h][0].label for h in heads or sorted(guesses) if guesses.get(h))

    return CellJudge(judge, judge.name, named, rejected if heads else None, seen)


def _names(judge: _Labelled, part: ConceptPlan) -> set[str]:
    """The judge's labels that one concept goes by; ConfigError where it has none."""
    labels = judge.labels
    wanted = {name.lower() for name in part.erased}
    numbers = [find_label(name) for name in part.erased]
    if isinstance(judge, ImageNetJudge):
        wanted |= {labels[CLASSES[n].imagenet_index].lower() for n in numbers if n is not None}
    names = {label for label in labels if label.lower() in wanted}
    if not names:
        close = get_close_matches(part.concept.lower(), [label.lower() for label in labels], 3)
        hint = f"the nearest that it has is {close[0]!r}; " if close else ""
        raise ConfigError(
            f"the judge {judge.name} has no label {part.concept!r}; {hint}give another --judge, "
            "--labels that name it, or leave --judge out"
        )
    return names
