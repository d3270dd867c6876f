"""Phrases for well-known concepts, written by hand, and the same from a table of the user's own."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from prompts.concepts.phrases import tidy
from prompts.errors import PromptError
from prompts.suites.tables import PROMPT, Table, refuse_long, require_column

LISTED: Final = Path(__file__).with_name("known.csv")
_LONGEST: Final = 1000
"""Letters of a prompt from a table."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Another way of asking for a concept."""

    kind: str
    """`synonym`, `indirect`, `typo`, `language de` and so on."""
    prompt: str


def known_phrases(concept: str) -> list[Phrase]:
    """What the table of this package has for a concept, as noun phrases; none where it is not in
    it."""
    wanted = tidy(concept).lower()
    return [phrase for name, phrase in _listed() if name.lower() == wanted]


@cache
def _listed() -> tuple[tuple[str, Phrase], ...]:
    rows = Table(LISTED)
    return tuple(
        (str(row.cells["concept"]), Phrase(str(row.cells["kind"]), str(row.cells["phrase"])))
        for row in rows
    )


def read_phrases(path: Path) -> tuple[Phrase, ...]:
    """Prompts of a user's table, as they stand there: column `prompt`, and `kind` if there is one.

    Raises:
        PromptError: there is no such file, it cannot be read, has no prompt column or no prompt, or
            a prompt is no text or has more than 1000 letters.
    """
    phrases = tuple(_phrases(path))
    if not phrases:
        raise PromptError(f"the prompt file {path} has no prompt in it; write at least one")
    return phrases


def _phrases(path: Path) -> Iterator[Phrase]:
    for row in Table(path):
        require_column([PROMPT], row.cells, path)
        refuse_long(row, path)
        prompt, kind = row.cells[PROMPT], row.cells.get("kind") or "listed"
        if not isinstance(prompt, str) or not isinstance(kind, str):
            raise PromptError(f"{row.place} of {path} holds no text; put it in quotes")
        if len(prompt) > _LONGEST or len(kind) > 40:
            raise PromptError(
                f"{row.place} of {path} has a prompt of {len(prompt)} letters and a kind of "
                f"{len(kind)}; give at most {_LONGEST} and 40"
            )
        if tidy(prompt):
            yield Phrase(tidy(kind), tidy(prompt))
