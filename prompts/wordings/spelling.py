"""A word written otherwise: typing errors, letters that look alike, and words cut in pieces."""

from collections.abc import Iterator
from typing import Final

_LOOK_ALIKE: Final = str.maketrans("aceopxyACEOPXY", "асеорхуАСЕОРХУ")  # noqa: RUF001
"""Latin letters -> Cyrillic ones of the same look."""
_DIGITS: Final = str.maketrans("oilestOILEST", "011357011357")


def typos(word: str) -> Iterator[str]:
    """The word with two letters swapped, one left out, and one doubled, near its middle.

    Words of fewer than three letters have none.
    """
    if len(word) < 3:
        return
    middle = len(word) // 2
    swaps = [n for n in (middle, middle - 1, 0) if n + 1 < len(word) and word[n] != word[n + 1]]
    for n in swaps[:1]:
        yield word[:n] + word[n + 1] + word[n] + word[n + 2 :]
    yield word[:middle] + word[middle + 1 :]
    yield word[: middle + 1] + word[middle:]


def look_alikes(word: str) -> Iterator[str]:
    """The word in letters of another script that look the same, and with digits for letters."""
    for table in (_LOOK_ALIKE, _DIGITS):
        other = word.translate(table)
        if other != word:
            yield other


def pieces(word: str) -> Iterator[str]:
    """The word cut in two by a hyphen, and letter by letter."""
    if len(word) < 3:
        return
    middle = len(word) // 2
    yield f"{word[:middle]}-{word[middle:]}"
    yield " ".join(word)
