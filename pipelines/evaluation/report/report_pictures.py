"""Pictures inside a page: made small, and written as data URIs."""

import io
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from erasure.errors import ConfigError
from erasure.storage.links import resolved
from pipelines.drawing.pictures import decode

SIDE: Final = 320
"""Pixels of the longer side, at most."""
_SMALL: Final = 128
"""Up to here a picture is shown with sharp pixels, and kept as it is."""
_QUALITY: Final = 80
_QUALITY_SMALL: Final = 90


@dataclass(frozen=True, slots=True)
class Inlined:
    """One picture of the page, or why there is none."""

    uri: str = ""
    width: int = 1
    """Pixels."""
    height: int = 1
    sharp: bool = False
    """So few pixels that they are shown as squares."""
    missing: str = ""
    """What to say in its place."""


def inline(folder: Path, file: str, *, many: bool = False) -> Inlined:
    """Read `folder / file` and make it part of a page; what cannot be read is told, not raised.

    PNG for small pictures, else JPEG.

    Args:
        many: the page has hundreds, so small ones lose what hardly shows, and four fifths of their
            bytes.
    """
    path = folder / file
    try:
        if not resolved(path).is_relative_to(folder.resolve()):
            return Inlined(missing=f"{file} lies outside the folder of the evaluation")
    except (OSError, ValueError):
        return Inlined(missing=f"{file} leads to no picture")
    try:
        image = decode(path, file)
    except ConfigError:
        there = "cannot be decoded" if path.exists() else "is missing"
        return Inlined(missing=f"{file} {there}")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    sharp = max(image.size) <= _SMALL
    kind = ("webp" if many else "png") if sharp else "jpeg"
    quality = _QUALITY_SMALL if sharp else _QUALITY  # PNG has none and ignores it
    data = io.BytesIO()
    image.save(data, kind, quality=quality, optimize=True)
    uri = f"data:image/{kind};base64,{b64encode(data.getvalue()).decode()}"
    return Inlined(uri, *image.size, sharp)
