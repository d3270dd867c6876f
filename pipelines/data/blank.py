"""Pictures that show nothing: of one colour, as a damaged or overflowing model draws them."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from PIL import Image

from erasure.errors import TrainingError

_SPREAD: Final = 2
"""Levels of 255 by which the values of a channel may differ in a picture of one colour: rounding
in the autoencoder leaves no more."""


def is_blank(image: Image.Image) -> bool:
    """Whether a picture is of one colour, black or another."""
    pixels = np.asarray(image.convert("RGB"))  # (H, W, 3)
    return bool((np.ptp(pixels, axis=(0, 1)) <= _SPREAD).all())


def all_blank(images: Iterable[Image.Image]) -> bool:
    """Whether there are pictures and each is of one colour; stops at the first that is not."""
    one = None
    for one in images:
        if not is_blank(one):
            return False
    return one is not None


def require_content(images: Sequence[Image.Image], whose: str) -> None:
    """Raise TrainingError where all of a model's pictures are blank.

    Args:
        images: what it drew.
        whose: the model, as the message calls it.
    """
    if all_blank(images):
        colour = "#" + bytes(np.asarray(images[0].convert("RGB"))[0, 0]).hex()
        raise TrainingError(
            f"{whose} draws one colour alone ({colour}; pictures drawn: {len(images)}), so "
            "there is nothing to learn from or to look at; check the model by drawing with it "
            "elsewhere, and its autoencoder first, since one that overflows in fp16 draws black"
        )
