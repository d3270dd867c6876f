"""Which files of a folder are pictures, and which of those can be read here."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from eval.errors import EvalError

PICTURES: Final = frozenset(
    ".avif .bmp .gif .heic .heif .jfif .jp2 .jpe .jpeg .jpg .jxl .png .tga .tif .tiff .webp".split()
)
"""Endings of pictures, whether Pillow reads them here or not."""


def visible(folder: Path) -> list[Path]:
    """All files below, sorted, without hidden ones and what is in hidden folders."""
    return sorted(
        Path(parent, name)
        for parent, folders, names in _walk(folder)
        for name in names
        if not name.startswith(".")
    )


def _walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield parent, folders, names


def is_picture(path: Path) -> bool:
    """By the ending of its name, in any case."""
    return path.suffix.lower() in PICTURES


def require_readable(pictures: Sequence[Path]) -> None:
    """Raise EvalError where Pillow cannot read a format; the files are counted, one is named."""
    known = Image.registered_extensions()
    strange = [path for path in pictures if path.suffix.lower() not in known]
    if strange:
        raise EvalError(
            f"{strange[0]} has a format that cannot be read here (of such there are "
            f"{endings(strange)}); convert them to .png, .jpg or .webp, or take them out"
        )


def endings(paths: Iterable[Path]) -> str:
    """`3 .json, 2 .npz`: how many files of each ending, the most frequent first."""
    counts = Counter(path.suffix.lower() or "without an ending" for path in paths)
    return ", ".join(f"{count} {ending}" for ending, count in counts.most_common())
