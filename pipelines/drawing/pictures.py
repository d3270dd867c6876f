"""Pictures with prompts, as the model takes them: decoded, cut to a square, scaled to [-1, 1]."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from erasure.errors import ConfigError
from erasure.seeds import generator_for
from eval.errors import EvalError
from eval.pictures import decoding, picture_files

LONGEST: Final = 30
"""Longer side over shorter, at most: a sliver would be blown up to gigabytes before the crop."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One training sample."""

    image: Image.Image
    """RGB."""
    prompt: str
    source: str
    """Where it came from, to name in a message: a path, or a data set and a row."""


def decode(data: Path | bytes, source: str) -> Image.Image:
    """Read one picture as RGB, turned as its EXIF says, what is transparent on white.

    Args:
        data: a file, or what is in one.
        source: what to call it in an error.

    Raises:
        ConfigError: it is not there, or no picture that can be decoded.
    """
    try:
        return decoding.decode(data, source)
    except EvalError as err:
        raise ConfigError(str(err)) from err


def require_readable(paths: Sequence[Path]) -> None:
    """Raise ConfigError where a picture is of a format that cannot be read here, by its ending."""
    try:
        picture_files.require_readable(paths)
    except EvalError as err:
        raise ConfigError(str(err)) from err


def square(image: Image.Image, size: int, source: str = "a picture") -> Image.Image:
    """Resize the shorter side to `size` pixels, bicubic, and cut out the centre.

    Raises:
        ConfigError: the sides differ too much, or `size` is below 1.

    Source: arXiv:2310.12508, released code, transform of the ImageNette pictures; rounding is
        that of torchvision's `Resize` and `CenterCrop`.
    """
    if size < 1:
        raise ConfigError(f"size is {size}; give 1 pixel or more")
    width, height = image.size
    shorter, longer = min(width, height), max(width, height)
    if longer > LONGEST * shorter:
        raise ConfigError(f"{source} is {width}x{height} pixels, too narrow for a square; crop it")
    scaled = int(size * longer / shorter)
    fitted = (size, scaled) if width <= height else (scaled, size)
    left, top = (round((side - size) / 2) for side in fitted)
    resized = image.resize(fitted, Image.Resampling.BICUBIC)
    return resized.crop((left, top, left + size, top + size))


def to_tensor(image: Image.Image) -> Tensor:
    """RGB picture -> float32 in [-1, 1], (3, H, W)."""
    values = torch.from_numpy(np.array(image, dtype=np.float32))  # (H, W, 3)
    return values.permute(2, 0, 1).contiguous() / 127.5 - 1


def read_pictures(listed: Iterable[tuple[Path | bytes, str, str]], size: int) -> Iterator[Picture]:
    """Decode and cut pictures one by one as they are asked for.

    Args:
        listed: file or its content, prompt, and what to call it.
        size: pixels a side.

    Raises:
        ConfigError: at the picture that cannot be read.
    """
    for data, prompt, source in listed:
        yield Picture(square(decode(data, source), size, source), prompt, source)


def sampled(
    listed: Iterable[tuple[Path | bytes, str, str]], limit: int | None, seed: int
) -> Iterator[tuple[Path | bytes, str, str]]:
    """At most `limit` pictures, each as likely as any other, in their order; all if None.

    Data sets are often sorted by class, so that the first pictures would be of one class alone.
    Reservoir sampling (algorithm R): holds `limit` undecoded pictures and reads the list once.
    """
    if limit is None:
        yield from listed
        return
    generator = generator_for(seed, "sampled")
    sample: list[tuple[int, tuple[Path | bytes, str, str]]] = []
    for index, entry in enumerate(listed):
        if index < limit:
            sample.append((index, entry))
            continue
        place = int(torch.randint(index + 1, (1,), generator=generator))
        if place < limit:
            sample[place] = (index, entry)
    yield from (entry for _, entry in sorted(sample, key=lambda pair: pair[0]))
