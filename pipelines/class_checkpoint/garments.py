"""The pictures that the checkpoint is trained on: Fashion-MNIST, padded to 32 x 32."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from pipelines.class_checkpoint.recipe import SIDE
from pipelines.classifiers.data.idx_data import fashion_mnist
from pipelines.classifiers.data.raw_data import RawSet


@dataclass(frozen=True, slots=True, eq=False)
class Garments:
    """Pictures and their classes."""

    pixels: Tensor
    """(N, 1, 32, 32) uint8; clothes are light on black."""
    labels: Tensor
    """(N,) int64."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of pictures and labels."""
        digest = hashlib.sha256(self.pixels.numpy().tobytes())
        digest.update(self.labels.numpy().tobytes())
        return digest.hexdigest()


def load_garments(path: Path | None = None) -> tuple[Garments, Garments]:
    """Read the 60,000 pictures to train on and the 10,000 others.

    Raises:
        ConfigError: the files are not there; the message says which package brings them.
    """
    raw = fashion_mnist(path)
    return padded(raw.train), padded(raw.test or raw.train)


def padded(part: RawSet) -> Garments:
    """Put black around pictures (N, 1, H, W) until they are 32 x 32."""
    (pixels,) = part.inputs
    rows, columns = SIDE - pixels.shape[2], SIDE - pixels.shape[3]
    around = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return Garments(F.pad(pixels, around), part.labels)
