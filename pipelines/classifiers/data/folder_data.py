"""A user's own pictures: `train/CLASS/*.png` and, where there is one, `test/CLASS/*.png`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image

from erasure.errors import ConfigError
from eval.pictures.picture_files import is_picture, visible
from pipelines.classifiers.data.raw_data import RawData, RawSet, images
from pipelines.drawing.pictures import decode, require_readable

SIZE: Final = 32
"""Pixels a side that pictures are brought to."""


def picture_folder(path: Path | None, /) -> RawData:
    """Pictures of a folder, in colour, squares of 32 pixels, turned as their EXIF says and what is
    transparent on white; a class is a folder's name.

    Raises:
        ConfigError: no path, no classes, a class that only `test` has, or no pictures.
    """
    if path is None or not (path / "train").is_dir():
        raise ConfigError(
            f"there is no folder {path / 'train' if path else 'given'}; give one that holds "
            "train/CLASS/*.png with --data-path"
        )
    classes = sorted(p.name for p in (path / "train").iterdir() if p.is_dir())
    if len(classes) < 2:
        raise ConfigError(
            f"{path / 'train'} has {len(classes)} folders; give one a class, 2 or more"
        )
    tests = next((path / name for name in ("test", "val") if (path / name).is_dir()), None)
    test = None if tests is None else _read(tests, classes)
    return RawData("image", _read(path / "train", classes), test, tuple(classes), path.name)


def _read(folder: Path, classes: Sequence[str]) -> RawSet:
    unknown = sorted({p.name for p in folder.iterdir() if p.is_dir()} - set(classes))
    if unknown:
        raise ConfigError(f"{folder / unknown[0]} is a class that train/ lacks; remove or add it")
    pixels: list[np.ndarray] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        inside = folder / name
        files = [file for file in visible(inside) if is_picture(file)]
        require_readable(files)
        pixels += map(_picture, files)
        labels += [label] * len(files)
    if not pixels:
        raise ConfigError(f"{folder} has no pictures; put them into a folder a class")
    return images(torch.from_numpy(np.stack(pixels)), labels)


def _picture(file: Path) -> np.ndarray:
    return np.asarray(decode(file, str(file)).resize((SIZE, SIZE), Image.Resampling.BOX))
