"""Pictures of 32 x 32 pixels and the classes that they are of."""

import hashlib
from dataclasses import dataclass

from PIL import Image
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ClassPictures:
    """Pictures and their classes."""

    pixels: Tensor
    """(N, C, 32, 32) uint8."""
    labels: Tensor
    """(N,) int64."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of pictures and labels."""
        digest = hashlib.sha256(self.pixels.numpy().tobytes())
        digest.update(self.labels.numpy().tobytes())
        return digest.hexdigest()


def image_of(pixels: Tensor) -> Image.Image:
    """A picture (C, H, W) uint8, grey where it has one channel."""
    return Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy())
