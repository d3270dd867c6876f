"""Tables of Markdown, whose cells hold whatever a file or a user wrote."""

from collections.abc import Iterable, Sequence

from pipelines.words.terminal import printable


def cell(text: str) -> str:
    """A text that stays within its cell, on its line, and begins no tag."""
    return printable(" ".join(text.split())).replace("|", "/").replace("<", "&lt;")


def row(cells: Iterable[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(map(cell, cells))} |"


def head(names: Sequence[str]) -> list[str]:
    """The first two lines of a table."""
    return [row(names), row(["---"] * len(names))]
