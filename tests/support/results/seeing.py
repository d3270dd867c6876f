"""A judge that sees the concept everywhere, and pictures of which it is said to be sure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from PIL import Image

from eval.judges.judge import Judgement
from eval.rates.intervals import wilson
from pipelines.audit.material import Shown, gather


@dataclass
class Sees:
    """Sees the concept in every picture."""

    name: str = "sees"
    protocol: ClassVar[dict[str, float]] = {"threshold": 0.5}

    def __call__(self, images: Sequence[Image.Image], /) -> list[Judgement]:
        return [Judgement() for _ in images]


def judged_well(*arguments: Any, **more: Any) -> Shown:  # noqa: ANN401
    """Gather, and let the judge see the concept in none of the pictures of other things."""
    shown = gather(*arguments, **more)
    clean = tuple(range(len(shown.without)))
    return replace(shown, clean=clean, false_positives=wilson(0, 60))
