"""Text on pictures: one line or a few, never wider than its place, whatever the text holds."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from PIL import ImageDraw, ImageFont

from pipelines.drawing.layout.glyphs import WIDE, drawable, font_for

ELLIPSIS: Final = "…"
_ALSO_PLAIN: Final = f"{ELLIPSIS}“”‘’"  # noqa: RUF001


@lru_cache(maxsize=32)
def face(size: int, path: Path | None = None) -> ImageFont.FreeTypeFont:
    """A font of `size` pixels: that of a file, or Pillow's own, which covers little but ASCII."""
    if path is not None:
        return ImageFont.truetype(str(path), round(0.92 * size))  # letters of others are larger
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise OSError("this Pillow has no FreeType to draw text with; install Pillow's own wheel")
    return font


def face_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """The font that has all letters of `text`, which is `drawable`."""
    if all(c.isascii() or c in _ALSO_PLAIN for c in text):
        return face(size)
    return face(size, font_for(text) or WIDE)


def clean(text: str) -> str:
    """One line that every font takes: no control characters, runs of white space made one space."""
    drawable = (c if c.isprintable() else "" if ord(c) == 0x200D else " " for c in text)
    return " ".join("".join(drawable).split())


def line_height(size: int) -> int:
    """Pixels from one line of text to the next."""
    return round(1.35 * size)


def width_of(text: str, size: int) -> int:
    """Pixels that one line of text takes."""
    text = drawable(text)
    return -int(-face_for(text, size).getlength(text) // 1)


def write(
    pen: ImageDraw.ImageDraw,
    where: tuple[int, int],
    text: str,
    size: int,
    *,
    colour: str,
    anchor: str = "la",
) -> None:
    """Draw one line of text; `anchor` as Pillow names them, `la` the top left."""
    text = drawable(text)
    pen.text(where, text, colour, face_for(text, size), anchor=anchor)


def write_lines(
    pen: ImageDraw.ImageDraw,
    where: tuple[int, int],
    lines: Sequence[str],
    size: int,
    *,
    colour: str,
    anchor: str = "la",
) -> None:
    """Draw lines of text one below another, the first at `where`."""
    for n, line in enumerate(lines):
        below = where[0], where[1] + n * line_height(size)
        write(pen, below, line, size, colour=colour, anchor=anchor)


def fit(text: str, size: int, width: int) -> str:
    """`text` on one line of at most `width` pixels, its end given up for an ellipsis if need be."""
    text = drawable(_bounded(clean(text), width))
    if width_of(text, size) <= width:
        return text
    return text[: _fitting(text, size, width, ELLIPSIS)].rstrip() + ELLIPSIS


def wrap(text: str, size: int, width: int, lines: int) -> list[str]:
    """`text` on at most `lines` lines of at most `width` pixels, broken between words.

    A word that is wider than a line is broken anywhere; what does not fit the last line is given
    up for an ellipsis. Text without anything to draw has no lines.
    """
    left = drawable(_bounded(clean(text), width * lines))
    wrapped: list[str] = []
    while left and len(wrapped) < lines - 1:
        end = _fitting(left, size, width)
        if end < len(left):
            space = left.rfind(" ", 0, end + 1)
            end = space if space > 0 else max(1, end)
        wrapped.append(left[:end].rstrip())
        left = left[end:].lstrip()
    return [*wrapped, fit(left, size, width)] if left else wrapped


def _fitting(text: str, size: int, width: int, tail: str = "") -> int:
    """How many of the first characters, and `tail` after them, fit `width` pixels."""
    counts = range(1, len(text) + 1)
    return bisect_right(counts, width, key=lambda n: width_of(text[:n] + tail, size))


def _bounded(text: str, width: int) -> str:
    """`text` without what cannot fit, so that measuring stays cheap; letters take 2 px or more."""
    return text[: max(8, width)]
