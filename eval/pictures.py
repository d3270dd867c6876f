"""Picture files and folders that a user names, found and read."""

import os
from collections.abc import Sequence
from pathlib import Path
from struct import error as StructError
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from eval.errors import EvalError

ENDINGS: Final = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What counts as a picture in a folder; a file named by itself may end in anything."""
LONGEST: Final = 30
"""Longer side over shorter, at most: judges scale the shorter side up to hundreds of pixels."""

# What Pillow raises on damaged files, by format.
_UNDECODABLE: Final = (
    OSError,  # unknown formats and cut files too
    SyntaxError,
    ValueError,
    EOFError,
    StructError,
    Image.DecompressionBombError,
)


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
    try:
        with Image.open(path) as file:
            image = _rgb(ImageOps.exif_transpose(file))
    except FileNotFoundError as err:
        raise EvalError(f"there is no picture {path}; check the path") from err
    except _UNDECODABLE as err:
        # Pillow's own words for an unknown format only repeat the name.
        reason = "unknown format" if isinstance(err, UnidentifiedImageError) else err
        raise EvalError(
            f"{path} is no picture that can be decoded ({reason}); replace it or leave it out"
        ) from err
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


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel, which `convert` would clip to white
        grey = np.asarray(image).astype(np.int64)  # (H, W)
        grey = grey >> 8 if grey.max() > 255 else grey
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
