"""Which tokens of a prompt are the concept's: those that its stand-in does not share."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """The concept's tokens, and where the others lie in the stand-in."""

    own: range
    """Places of the concept's tokens."""
    others: tuple[tuple[int, int], ...]
    """(place in the prompt, place in the stand-in) of every other token, those behind the end of
    the text too."""


def span_of(prompt: Sequence[int], instead: Sequence[int], end: int) -> Span:
    """Compare two prompts, token by token, from both sides.

    Args:
        prompt: token ids with the marks at both ends, filled up to the window.
        instead: the same of the stand-in.
        end: the id that marks the end, whose first place ends the text.

    Returns:
        An empty span where the stand-in has all tokens of the prompt.
    """
    length, other = (list(ids).index(end) + 1 for ids in (prompt, instead))
    first = 0
    while first < min(length, other) - 1 and prompt[first] == instead[first]:
        first += 1
    last, shift = length, other - length
    while last - 1 >= first and last - 1 + shift >= first:
        if prompt[last - 1] != instead[last - 1 + shift]:
            break
        last -= 1
    before = [(place, place) for place in range(first)]
    after = [
        (place, place + shift) for place in range(last, len(prompt)) if place + shift < len(instead)
    ]
    return Span(range(first, last), (*before, *after))
