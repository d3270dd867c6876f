"""Features of pictures of clothes: what their classifier sees before it names anything."""

# B pictures, D = 96 features.

from collections.abc import Mapping

import torch
from torch import Tensor

from eval.judges.clothes import ClothesJudge, to_grey
from eval.pictures.picture_bytes import Pictures, rgb_pictures


class ClothesFeatures:
    """The layer before the head. As on the canvas, it is not independent of the judge."""

    is_inception = False

    def __init__(self, judge: ClothesJudge) -> None:
        self._network = judge.network
        self.name = "classifier of clothes, last layer but one"
        self.protocol: Mapping[str, str | int | float] = judge.protocol

    @torch.no_grad()
    def __call__(self, pictures: Pictures, /) -> Tensor:
        """(B, D) float32 on the CPU."""
        return self._network.features(to_grey(rgb_pictures(pictures)))
