"""Read prompts from a file: one a line, or the `prompt` column of a table."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Final

from prompts.errors import PromptError
from prompts.nearest import nearest

COLUMN: Final = "prompt"


def read_prompts(path: Path) -> tuple[str, ...]:
    """The prompts of a `.txt`, `.csv` or `.jsonl` file in UTF-8, in order, repeats kept.

    Of a `.txt`, blank lines and lines that begin with `#` are skipped; of the others, rows whose
    prompt is blank.

    Raises:
        PromptError: there is no such file, it cannot be read, has no prompt column or no prompt.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        found = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise PromptError(f"the prompt file {path} {found}; give one of {', '.join(_READERS)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as err:
        raise PromptError(f"there is no prompt file {path}; check the path") from err
    except UnicodeDecodeError as err:
        raise PromptError(f"the prompt file {path} is not text in UTF-8; save it as such") from err
    except OSError as err:
        raise PromptError(f"the prompt file {path} cannot be read: {err.strerror}") from err
    # Everywhere lines end at a line feed only: text may hold U+2028 and the like as they are.
    prompts = tuple(prompt for line in read(text, path) if (prompt := line.strip()))
    if not prompts:
        raise PromptError(f"the prompt file {path} has no prompt in it; write at least one")
    return prompts


def _lines(text: str, path: Path) -> Iterator[str]:
    return (line for line in text.split("\n") if not line.lstrip().startswith("#"))


def _csv(text: str, path: Path) -> Iterator[str]:
    rows = csv.DictReader(StringIO(text, newline=""), skipinitialspace=True)
    try:
        if rows.fieldnames is not None:
            _check_columns(rows.fieldnames, path)
        for row in rows:
            yield row[COLUMN] or ""  # None where a row is cut short
    except csv.Error as err:
        raise PromptError(f"line {rows.line_num} of {path} is not CSV: {err}") from err


def _jsonl(text: str, path: Path) -> Iterator[str]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as err:
            raise PromptError(f"line {number} of {path} is not JSON: {err.msg}") from err
        if not isinstance(row, dict):
            raise PromptError(f'line {number} of {path} is no object; write {{"{COLUMN}": "..."}}')
        _check_columns(row, path)
        if not isinstance(row[COLUMN], str):
            raise PromptError(
                f"the {COLUMN} in line {number} of {path} is no text; put it in quotes"
            )
        yield row[COLUMN]


def _check_columns(columns: Iterable[str], path: Path) -> None:
    names = list(columns)
    if COLUMN not in names:
        raise PromptError(f"{path} has no column {COLUMN!r}; {nearest(COLUMN, names)}; rename it")


_READERS: Final[Mapping[str, Callable[[str, Path], Iterator[str]]]] = {
    ".txt": _lines,
    ".csv": _csv,
    ".jsonl": _jsonl,
}
