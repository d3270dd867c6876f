"""Read a list of prompts from a file: one a line, or the `prompt` column of a table."""

from collections.abc import Iterator
from pathlib import Path

from prompts.errors import PromptError
from prompts.suites.tables import PROMPT, Table, refuse_long, require_column


def read_prompts(path: Path) -> tuple[str, ...]:
    """The prompts of a `.txt`, `.csv` or `.jsonl` file in UTF-8, in order, repeats kept.

    Of a `.txt`, blank lines and lines that begin with `#` are skipped; of the others, rows whose
    prompt is blank.

    Raises:
        PromptError: there is no such file, it cannot be read, has no prompt column or no prompt.
    """
    prompts = tuple(prompt for text in _texts(path) if (prompt := text.strip()))
    if not prompts:
        raise PromptError(f"the prompt file {path} has no prompt in it; write at least one")
    return prompts


def _texts(path: Path) -> Iterator[str]:
    for row in Table(path):
        require_column([PROMPT], row.cells, path)
        refuse_long(row, path)
        text = row.cells[PROMPT]
        if text is None and row.lacking > 0:  # the row is cut short
            continue
        if not isinstance(text, str):
            raise PromptError(f"the {PROMPT} in {row.place} of {path} is no text; put it in quotes")
        yield text
