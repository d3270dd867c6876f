"""The pictures that the embedded checkpoint is trained on: Fashion-MNIST, padded to 32 x 32."""

from pathlib import Path

import torch.nn.functional as F

from pipelines.class_checkpoint.pictures import ClassPictures
from pipelines.class_checkpoint.recipe import SIDE
from pipelines.classifiers.data.idx_data import fashion_mnist
from pipelines.classifiers.data.raw_data import RawSet


def load_garments(path: Path | None = None) -> tuple[ClassPictures, ClassPictures]:
    """Read the 60,000 pictures to train on and the 10,000 others; clothes are light on black.

    Raises:
        ConfigError: the files are not there; the message says which package brings them.
    """
    raw = fashion_mnist(path)
    return padded(raw.train), padded(raw.test or raw.train)


def padded(part: RawSet) -> ClassPictures:
    """Put black around pictures (N, 1, H, W) until they are 32 x 32."""
    (pixels,) = part.inputs
    rows, columns = SIDE - pixels.shape[2], SIDE - pixels.shape[3]
    around = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return ClassPictures(F.pad(pixels, around), part.labels)
