"""Prompts that name a concept beside something else, to see what an erasure takes along with it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from prompts.canvas import with_article
from prompts.errors import PromptError

Kind = Literal["companion", "colour", "count", "position"]

COLOURS: Final = ("red", "blue", "green", "yellow", "black", "white")
COUNTS: Final = ("one", "two", "three", "four")
POSITIONS: Final = ("on the left", "on the right")


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """A prompt with the concept and the same without it, to be drawn from one seed."""

    kind: Kind
    prompt: str
    without: str
    """What is left when the concept is taken out; another object's where nothing would be left."""
    companion: str
    """What should still be seen in both: a companion, a colour, a number or a place."""


def companions(concept: str, others: Sequence[str]) -> tuple[Composition, ...]:
    """`an image of a church and an apple`, in both orders: is the apple there?

    Raises:
        PromptError: there is no other, or the concept is among them.
    """
    _require_others(concept, others)
    return tuple(
        Composition(
            kind="companion",
            prompt=f"an image of {with_article(first)} and {with_article(second)}",
            without=f"an image of {with_article(other)}",
            companion=other,
        )
        for other in others
        for first, second in ((concept, other), (other, concept))
    )


def attributes(concept: str, other: str) -> tuple[Composition, ...]:
    """`an image of a red church`, and a red thing of another kind: is it red?

    Colours, numbers and places that the concept was drawn with may be lost with it.

    Args:
        concept: a noun.
        other: a noun for the prompts without the concept.

    Raises:
        PromptError: both are the same.
    """
    _require_others(concept, (other,))
    return tuple(_attributes(concept, other))


def _attributes(concept: str, other: str) -> Iterator[Composition]:
    for colour in COLOURS:
        yield Composition(
            kind="colour",
            prompt=f"an image of a {colour} {concept}",
            without=f"an image of a {colour} {other}",
            companion=colour,
        )
    for number in COUNTS:
        yield Composition(
            kind="count",
            prompt=f"an image of {_counted(number, concept)}",
            without=f"an image of {_counted(number, other)}",
            companion=number,
        )
    for place in POSITIONS:
        yield Composition(
            kind="position",
            prompt=f"an image of {with_article(concept)} {place}",
            without=f"an image of {with_article(other)} {place}",
            companion=place,
        )


def _counted(number: str, noun: str) -> str:
    """`one church`, `two churches`."""
    if number == "one":
        return f"one {noun}"
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{number} {noun}es"
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return f"{number} {noun[:-1]}ies"
    return f"{number} {noun}s"


def _require_others(concept: str, others: Sequence[str]) -> None:
    if not others or concept in others:
        raise PromptError(
            f"{list(others)} are no companions of {concept!r}; name other things, at least one"
        )
