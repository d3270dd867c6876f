"""Picture files and folders that a user names, found and read."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from eval.errors import EvalError
from eval.pictures.decoding import decode
from eval.pictures.picture_files import endings, is_picture, require_readable, visible

_log = logging.getLogger(__name__)

LONGEST: Final = 30
"""Longer side over shorter, at most: judges scale the shorter side up to hundreds of pixels."""


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, and the pictures in the folders among them, at any depth.

    Hidden files and folders are left out. What a folder holds comes sorted; a warning counts what
    in it is no picture. A file named by itself may end in anything.

    Raises:
        EvalError: a path is not there or no regular file, there is no picture, or a folder has one
            of a format that cannot be read.
    """
    pictures: list[Path] = []
    for path in paths:
        if path.is_dir():
            files = visible(path)
            inside = [file for file in files if is_picture(file)]
            if not inside:
                raise EvalError(f"the folder {path} has no picture; add .png or .jpg files")
            require_readable(inside)
            if others := [file for file in files if not is_picture(file)]:
                _log.warning("%s: left out files that are no pictures: %s", path, endings(others))
            pictures += inside
        elif path.exists():
            pictures.append(path)
        else:
            raise EvalError(f"there is no file or folder {path}; check the path")
    if not pictures:
        raise EvalError("there is no picture; name files or folders")
    for path in pictures:
        if not path.is_file():  # a named pipe would keep the reader waiting for ever
            raise EvalError(f"{path} is no regular file, or cannot be reached; take it out")
    return pictures


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
