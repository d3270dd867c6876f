"""What was erased, in the words of the suite's labels."""

from collections.abc import Callable, Mapping
from typing import Final

from erasure.checkpoints.checkpoint import Checkpoint
from pipelines.evaluation.settings import EvaluateRecipe
from prompts.canvas_concepts import canvas_names
from prompts.case import PromptSet
from prompts.errors import PromptError
from prompts.imagenette import CLASSES, find_label
from prompts.phrases import tidy
from prompts.unlearncanvas import OBJECTS, STYLES


def erased_labels(
    recipe: EvaluateRecipe, checkpoint: Checkpoint, suite: PromptSet
) -> tuple[str, ...]:
    """Labels of the suite that should be gone.

    As the user names them; else as the model says of itself, where the suite has such a label.
    Suites without labels keep the words as they are.
    """
    given = recipe.erased
    if given:
        return tuple(dict.fromkeys(label for word in given for label in _labels(word, suite)))
    made = checkpoint.provenance
    if made is None:
        return ()
    try:
        return _labels(made.concept, suite)
    except PromptError:  # it forgot something that this suite does not draw
        return ()


def _labels(word: str, suite: PromptSet) -> tuple[str, ...]:
    read = _READERS.get(suite.name)
    return read(word) if read is not None else (tidy(word),)


def _imagenette(word: str) -> tuple[str, ...]:
    label = find_label(word)
    return (tidy(word),) if label is None else (CLASSES[label].name,)


def _unlearncanvas(word: str) -> tuple[str, ...]:
    """Its labels are spelled as its files are: `Van_Gogh`, `Bears`."""
    plain = tidy(word).replace(" ", "_").lower()
    return (next((name for name in (*STYLES, *OBJECTS) if name.lower() == plain), tidy(word)),)


_READERS: Final[Mapping[str, Callable[[str], tuple[str, ...]]]] = {
    "canvas": canvas_names,
    "imagenette": _imagenette,
}
