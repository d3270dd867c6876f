"""Features of pictures by a shipped judge: what it sees before it names anything.

They are not independent of the judge, which reads the same layer; a distance in them still tells a
blot that lies on the right side of a border from a drawing.
"""

# B pictures, D features: 512 of the canvas, 96 of clothes.

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from eval.judges.canvas import CanvasJudge, to_pixels
from eval.judges.clothes import ClothesJudge, to_grey
from eval.pictures.picture_bytes import Pictures, rgb_pictures


@dataclass(frozen=True, slots=True)
class JudgeFeatures:
    """The layer before the heads."""

    name: str
    protocol: Mapping[str, str | int | float]
    rows: Callable[[Pictures], Tensor]
    """Gives (B, D) of pictures."""
    is_inception: ClassVar[bool] = False

    @torch.no_grad()
    def __call__(self, pictures: Pictures, /) -> Tensor:
        """(B, D) float32 on the CPU."""
        return self.rows(pictures)


def canvas_features(judge: CanvasJudge) -> JudgeFeatures:
    """Those of the classifier of the canvas."""

    def rows(pictures: Pictures) -> Tensor:
        made: Tensor = judge.network.body(to_pixels(rgb_pictures(pictures)))
        return made

    return JudgeFeatures("canvas classifier, last layer but one", judge.protocol, rows)


def clothes_features(judge: ClothesJudge) -> JudgeFeatures:
    """Those of the classifier of clothes."""

    def rows(pictures: Pictures) -> Tensor:
        return judge.network.features(to_grey(rgb_pictures(pictures)))

    return JudgeFeatures("classifier of clothes, last layer but one", judge.protocol, rows)
