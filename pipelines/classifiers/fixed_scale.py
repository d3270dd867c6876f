"""How a network scales its inputs whose method answers for every point that it was trained on.

Mean and deviation of the examples are numbers that were learned from them: they would stay after a
deletion as they were, and no noise is in them, so that a bound would not hold for who reads them.
"""

from dataclasses import replace
from typing import Final

from pipelines.classifiers.data.data import DataFacts
from pipelines.classifiers.data.raw_data import Kind

_HALF: Final = 0.5
"""Pixels in [0, 1] come out in [-1, 1]."""
_LEFT: Final[dict[Kind, str]] = {
    "image": "",
    "table": (
        "; the mean and deviation of each column, by which inputs are scaled, are of all points, "
        "stay as they are, and are in no bound"
    ),
    "text": "; which words there are was read off all texts, stays as it is, and is in no bound",
}


def without_looking(facts: DataFacts) -> DataFacts:
    """Facts to make a network for, with constants where the scale of the inputs is known.

    Pictures lie in [0, 1]. Columns of a table may have any size, so theirs stay, see `stays`.
    """
    if facts.kind != "image":
        return facts
    halves = (_HALF,) * len(facts.mean)
    return replace(facts, mean=halves, deviation=halves)


def stays(kind: Kind) -> str:
    """What such a network keeps of points that left beside its weights: the end of a statement."""
    return _LEFT[kind]


def scale_key(kind: Kind) -> dict[str, str]:
    """The part of a key that tells networks of pictures from those of before, which were scaled by
    mean and deviation of their examples."""
    return {"scale": "fixed"} if kind == "image" else {}
