"""One picture, decoded by Pillow: from a file of any format, and from whatever is damaged in it."""

import io
from pathlib import Path
from struct import error as StructError
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from eval.errors import EvalError
from prompts.regular_files import irregular

UNDECODABLE: Final = (
    OSError,  # unknown formats and cut files too
    SyntaxError,
    ValueError,
    EOFError,
    StructError,
    Image.DecompressionBombError,
)
"""What Pillow raises on damaged files, by format."""


def decode(data: Path | bytes, source: str) -> Image.Image:
    """Read one picture as RGB, turned as its EXIF says, what is transparent on white.

    Args:
        data: a file, or what is in one.
        source: what to call it in an error.

    Raises:
        EvalError: it is not there, or no picture that can be decoded.
    """
    if isinstance(data, Path) and (kind := irregular(data)):
        raise EvalError(f"{source} is {kind} and not a regular file; take it out")
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as file:
            return _rgb(ImageOps.exif_transpose(file))
    except FileNotFoundError as err:
        raise EvalError(f"there is no picture {source}; check the path") from err
    except UNDECODABLE as err:
        # Pillow's own words for an unknown format only repeat the name.
        reason = "unknown format" if isinstance(err, UnidentifiedImageError) else err
        raise EvalError(
            f"{source} is no picture that can be decoded ({reason}); replace it or leave it out"
        ) from err


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel, which `convert` would clip to white
        grey = np.asarray(image).astype(np.int64)  # (H, W)
        grey = grey >> 8 if grey.max() > 255 else grey
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
