"""Features of pictures of the canvas: what its classifier sees before it names anything."""

# B pictures, D = 512 features.

from collections.abc import Mapping

import torch
from torch import Tensor

from eval.judges.canvas import CanvasJudge, to_pixels
from eval.pictures.picture_bytes import Pictures, rgb_pictures


class CanvasFeatures:
    """The layer before the heads. It is not independent of the judge, which reads the same layer;
    a distance in it still tells a blot that lies on the right side of a border from a drawing."""

    is_inception = False

    def __init__(self, judge: CanvasJudge) -> None:
        self._network = judge.network
        self.name = "canvas classifier, last layer but one"
        self.protocol: Mapping[str, str | int | float] = judge.protocol

    @torch.no_grad()
    def __call__(self, pictures: Pictures, /) -> Tensor:
        """(B, D) float32 on the CPU."""
        rows: Tensor = self._network.body(to_pixels(rgb_pictures(pictures)))
        return rows
