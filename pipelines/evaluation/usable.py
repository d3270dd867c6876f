"""Stop an evaluation of a model that draws nothing: its counts would say nothing either."""

from collections.abc import Sequence
from pathlib import Path

from erasure.errors import TrainingError
from eval.pictures.decoding import decode
from pipelines.data.blank import all_blank
from pipelines.evaluation.manifest import Drawn


def require_numbers(batch: Sequence[Drawn], name: str) -> None:
    """Raise TrainingError where no picture of the first batch is finite.

    Black pictures are no reason yet: a model from which the concept of the first prompts was
    erased may well draw those in black and the others as before.
    """
    tried = _tried(batch)
    if tried and all(picture.state == "nan" for picture in tried):
        raise TrainingError(
            f"the model {name} draws values that are not finite in all {len(tried)} pictures of "
            "the first batch, so drawing stops; check its weights, or give --precision fp32"
        )


def require_usable(drawn: Sequence[Drawn], folder: Path, name: str) -> None:
    """Raise TrainingError where all pictures of a model are not finite, black or of one colour.

    Args:
        drawn: all of them; they stay where they are.
        folder: of the evaluation.
        name: `after` or `before`.
    """
    tried = _tried(drawn)
    usable = [picture for picture in tried if picture.state == "ok"]
    images = (decode(folder / picture.file, picture.file) for picture in usable)
    if tried and (not usable or all_blank(images)):
        raise TrainingError(
            f"all {len(tried)} pictures of the model {name} are black, of one colour or not "
            f"finite, so there is nothing to judge; look at them in {folder / 'images' / name}, "
            "and check the model and its autoencoder"
        )


def _tried(drawn: Sequence[Drawn]) -> list[Drawn]:
    """Those that the model was asked to draw, and no guard refused."""
    return [picture for picture in drawn if picture.state != "refused"]
