"""Which letters can be drawn: by a font that matplotlib brings, by one of this machine, or escaped.

A letter that a font lacks would be drawn as a box, and one box looks like another.
"""

import logging
from functools import lru_cache
from pathlib import Path
from typing import Final

import matplotlib
from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

_log = logging.getLogger(__name__)
WIDE: Final = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
"""Comes with matplotlib, and is the font of its charts: the alphabets, but neither Chinese,
Japanese, Korean nor most emoji."""


def font_for(text: str) -> Path | None:
    """A font that has every letter of `text`: `WIDE`, else one of this machine; None without."""
    letters = frozenset(map(ord, text))
    return WIDE if letters <= _letters(WIDE) else _installed(letters)


def drawable(text: str) -> str:
    """`text` where a font has all its letters; else those that `WIDE` lacks as escapes.

    `a 猫` -> `a \\u732b` on a machine without such a font. The first time a warning says so.
    """
    if text.isascii() or font_for(text) is not None:
        return text
    return escaped(text)


def escaped(text: str) -> str:
    """`text` with the letters that `WIDE` lacks as escapes: for charts, which are drawn by it."""
    known = _letters(WIDE)
    if frozenset(map(ord, text)) <= known:
        return text
    _warn_once()
    return "".join(c if ord(c) in known else c.encode("unicode_escape").decode() for c in text)


@lru_cache(maxsize=1)
def _warn_once() -> None:
    _log.warning(
        "no font of this machine has all letters of a name or prompt, so pictures and charts show "
        "them as escapes such as \\u732b; install a font that has them, such as Noto Sans CJK"
    )


@lru_cache(maxsize=256)
def _installed(letters: frozenset[int]) -> Path | None:
    """The first font of this machine, by name, that has all of them."""
    return next((path for path in _fonts() if letters <= _letters(path)), None)


@lru_cache(maxsize=1)
def _fonts() -> tuple[Path, ...]:
    return tuple(sorted(map(Path, findSystemFonts(fontext="ttf")), key=lambda path: path.name))


@lru_cache(maxsize=512)
def _letters(path: Path) -> frozenset[int]:
    """Code points of a font; none of one that cannot be read, or that has pictures for letters."""
    try:
        ImageFont.truetype(str(path), 12)  # one of pictures has sizes of its own
        return frozenset(FT2Font(str(path)).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
