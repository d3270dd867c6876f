"""Prompts that name a concept beside something else, to see what an erasure takes along with it."""

from collections.abc import Sequence
from dataclasses import dataclass

from prompts.canvas import with_article
from prompts.errors import PromptError


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """A prompt with the concept and the same without it, to be drawn from one seed."""

    prompt: str
    without: str
    """What is left when the concept is taken out; another object's where nothing would be left."""
    companion: str
    """What should still be seen in both."""


def companions(concept: str, others: Sequence[str]) -> tuple[Composition, ...]:
    """`an image of a church and an apple`, in both orders: is the apple there?

    Raises:
        PromptError: there is no other, or the concept is among them.
    """
    _require_others(concept, others)
    return tuple(
        Composition(
            prompt=f"an image of {with_article(first)} and {with_article(second)}",
            without=f"an image of {with_article(other)}",
            companion=other,
        )
        for other in others
        for first, second in ((concept, other), (other, concept))
    )


def _require_others(concept: str, others: Sequence[str]) -> None:
    if not others or concept in others:
        raise PromptError(
            f"{list(others)} are no companions of {concept!r}; name other things, at least one"
        )
