"""What was erased, in the words of the suite's labels."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from erasure.checkpoints.checkpoint import Checkpoint
from pipelines.evaluation.settings import EvaluateRecipe
from prompts.concepts.canvas_concepts import canvas_names
from prompts.concepts.phrases import tidy
from prompts.concepts.unlearncanvas_concepts import unlearncanvas_name
from prompts.errors import PromptError
from prompts.nearest import nearest
from prompts.suites.case import PromptSet
from prompts.suites.imagenette import CLASSES, find_label


@dataclass(frozen=True, slots=True)
class ErasedLabels:
    """What should no longer be recognised."""

    labels: tuple[str, ...]
    """The erased labels in the words of the suite, each once."""
    missing: tuple[str, ...] = ()
    """Concepts that the model says were erased from it and that the suite does not draw: the
    evaluation says nothing of them."""


def erased_labels(recipe: EvaluateRecipe, checkpoint: Checkpoint, suite: PromptSet) -> ErasedLabels:
    """Labels of the suite that should no longer be recognised.

    As the user names them; else as the model says of itself, of every one of its edits, where the
    suite has a prompt with such a label. Suites without labels keep the words as they are.

    Raises:
        PromptError: no prompt of the suite shows what the user names.
    """
    named = recipe.erased
    concepts = checkpoint.provenance.concepts if checkpoint.provenance else ()
    asked = _asked_for(suite) if named or concepts else set()
    if named:
        words = [label for word in named for label in _shown(word, suite, asked)]
        return ErasedLabels(tuple(dict.fromkeys(words)))
    labels: list[str] = []
    missing: list[str] = []
    for concept in concepts:
        try:
            shown = [n for n in _labels(concept, suite) if n in asked or not suite.heads]
        except PromptError:  # it forgot something that this suite does not know
            shown = []
        labels += shown
        missing += [] if shown else [concept]
    return ErasedLabels(tuple(dict.fromkeys(labels)), tuple(missing))


def _asked_for(suite: PromptSet) -> set[str]:
    return {label for case in suite.cases for label in case.labels.values()}


def _shown(word: str, suite: PromptSet, asked: Collection[str]) -> tuple[str, ...]:
    """The labels of a word; PromptError where the suite has labels and no prompt shows one."""
    labels = _labels(word, suite)
    if suite.heads and not set(labels) & set(asked):
        raise PromptError(
            f"no prompt of the suite {suite.name} shows {word!r}, so nothing could be said of it; "
            f"{nearest(labels[0], sorted(asked))}"
        )
    return labels


def _labels(word: str, suite: PromptSet) -> tuple[str, ...]:
    read = _READERS.get(suite.name)
    return read(word) if read is not None else (tidy(word),)


def _imagenette(word: str) -> tuple[str, ...]:
    label = find_label(word)
    return (tidy(word),) if label is None else (CLASSES[label].name,)


def _unlearncanvas(word: str) -> tuple[str, ...]:
    """Its labels are spelled as its files are: `Van_Gogh`, `Bears`."""
    return (unlearncanvas_name(word),)


_READERS: Final[Mapping[str, Callable[[str], tuple[str, ...]]]] = {
    "canvas": canvas_names,
    "imagenette": _imagenette,
    "unlearncanvas": _unlearncanvas,
}
