"""Which concepts' pictures are covered: on the local page, and in a model's card."""

from collections.abc import Iterable
from typing import Final

_WORDS: Final = ("nude", "nudity", "naked", "nsfw", "sex", "porn", "gore", "blood", "corpse")


def is_unsafe(texts: Iterable[str]) -> bool:
    """Whether one of the texts, concepts or a command's words, holds such a word."""
    return any(word in text.lower() for text in texts for word in _WORDS)
