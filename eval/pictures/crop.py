"""Resize and cut out the centre, as classifiers are trained to see pictures."""

from PIL import Image


def centre_square(
    image: Image.Image, *, shorter: int, side: int, resample: Image.Resampling
) -> Image.Image:
    """RGB, its shorter side resized to `shorter` pixels, then the centre of `side` x `side`.

    Lengths are rounded as torchvision's `Resize` and `CenterCrop` do, so that the pixels are
    theirs. `side` is at most `shorter`.
    """
    width, height = image.size
    scaled = int(shorter * max(width, height) / min(width, height))
    size = (shorter, scaled) if width <= height else (scaled, shorter)
    left, top = (round((length - side) / 2) for length in size)
    resized = image.convert("RGB").resize(size, resample)
    return resized.crop((left, top, left + side, top + side))
