"""What sheets of pictures share: colours, distances, the size of a cell, wrapping into bands."""

from collections.abc import Sequence
from math import ceil
from typing import Final, TypeVar

from PIL import Image

from erasure.errors import ConfigError

Item = TypeVar("Item")

PAPER: Final = "#fbfaf8"
INK: Final = "#24262b"
MUTED: Final = "#757a83"
LINE: Final = "#e3e1dc"
FRAME: Final = "#d3d1cc"
ACCENT: Final = "#c2402c"
TINT: Final = "#fbeeea"

MARGIN: Final = 28
MAX_WIDTH: Final = 2000
MAX_HEIGHT: Final = 5000
"""Pixels; more than this nobody looks at in one piece."""

SMALL: Final = 128
LARGE: Final = 256


def cell_sides(pictures: Sequence[Image.Image]) -> tuple[int, ...]:
    """Sizes, best first, at which to show pictures whose longest side is at most so many pixels.

    Small pictures are enlarged by a whole number to 128 px or more, so that their pixels stay
    sharp; large ones are shown at 256 px, or at less where room is short.

    Raises:
        ConfigError: a picture has no pixels.
    """
    if empty := next((p for p in pictures if 0 in p.size), None):
        raise ConfigError(f"a picture measures {empty.width} x {empty.height} px; nothing to draw")
    longest = max(max(picture.size) for picture in pictures)
    if longest < SMALL:
        return (longest * ceil(SMALL / longest),)
    best = min(longest, LARGE)
    return (best, *(side for side in (224, 192, 160, SMALL) if side < best))


def scaled_size(picture: Image.Image, side: int) -> tuple[int, int]:
    """Width and height with the longest side made `side`, the shape kept."""
    longest = max(picture.size)
    return max(1, picture.width * side // longest), max(1, picture.height * side // longest)


def scaled(picture: Image.Image, side: int) -> Image.Image:
    """The picture as RGB on the paper, its longest side made `side` pixels.

    Pixels are repeated where `side` is a multiple of the longest side, else interpolated.
    """
    if picture.has_transparency_data:
        below = Image.new("RGBA", picture.size, PAPER)
        picture = Image.alpha_composite(below, picture.convert("RGBA"))
    whole = side % max(picture.size) == 0
    how = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
    return picture.convert("RGB").resize(scaled_size(picture, side), how)


def bands(items: Sequence[Item], widest: int) -> tuple[tuple[Item, ...], ...]:
    """Cut into the fewest runs of at most `widest` (at least 1) items, of nearly equal length."""
    count = ceil(len(items) / max(1, widest))
    length = ceil(len(items) / max(1, count))
    return tuple(tuple(items[i : i + length]) for i in range(0, len(items), max(1, length)))
