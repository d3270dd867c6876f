"""Picture files and folders that a user names, found and read."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from eval.decoding import decode
from eval.errors import EvalError

ENDINGS: Final = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What counts as a picture in a folder; a file named by itself may end in anything."""
LONGEST: Final = 30
"""Longer side over shorter, at most: judges scale the shorter side up to hundreds of pixels."""


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, and the pictures in the folders among them, at any depth.

    Hidden files and folders are left out. What a folder holds comes sorted.

    Raises:
        EvalError: a path is not there, or there is no picture.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [file for file in _visible(path) if file.suffix.lower() in ENDINGS]
            if not inside:
                raise EvalError(f"the folder {path} has no picture; add .png or .jpg files")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise EvalError(f"there is no picture {path}; check the path")
    if not found:
        raise EvalError("there is no picture; name files or folders")
    return found


def read_picture(path: Path) -> Image.Image:
    """One picture as RGB, turned as its EXIF says, what is transparent on white.

    Raises:
        EvalError: it is not there, cannot be decoded, or is a sliver; names the file.
    """
    image = decode(path, str(path))
    if max(image.size) > LONGEST * min(image.size):
        width, height = image.size
        raise EvalError(f"{path} is {width}x{height} pixels, too narrow to be judged; crop it")
    return image


def _visible(folder: Path) -> list[Path]:
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(files)
