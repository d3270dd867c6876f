"""Rows of a text file: one prompt a line, CSV with a header, or one JSON object a line."""

import csv
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from typing import Final, TextIO

from prompts.errors import PromptError
from prompts.nearest import nearest
from prompts.regular_files import readable

PROMPT: Final = "prompt"
"""The one column of a text file."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row, as it stands in the file."""

    position: int
    """Among the rows of the file, 0 for the first."""
    place: str
    """For messages: `row 3 (line 4)`."""
    cells: Mapping[str, object]
    """Column -> what stands there: text, in JSON any value; None where a CSV row is cut short."""
    lacking: int = 0
    """Cells fewer than there are columns; below 0 where there are more."""


@dataclass(frozen=True, slots=True)
class Table:
    """A `.txt`, `.csv` or `.jsonl` file in UTF-8, read anew, row by row, each time it is iterated.

    Of a `.txt`, lines that begin with `#` are skipped, and everywhere blank lines. Lines end at a
    line feed only: text may hold U+2028 and the like as they are.

    Raises:
        PromptError: when iterated: there is no such file, it cannot be read, or it is not what
            its ending says.
    """

    path: Path

    def __post_init__(self) -> None:
        if self.path.suffix.lower() not in _READERS:
            fault = f"ends in {self.path.suffix!r}" if self.path.suffix else "has no ending"
            raise PromptError(
                f"the prompt file {self.path} {fault}; give one of {', '.join(_READERS)}"
            )

    def __iter__(self) -> Iterator[Row]:
        suffix, path = self.path.suffix.lower(), self.path
        with (
            readable(path),
            path.open(encoding="utf-8-sig", newline="" if suffix == ".csv" else "\n") as file,
        ):
            yield from _READERS[suffix](file, path)


def refuse_long(row: Row, source: object) -> None:
    """Raise PromptError where a row has more cells than there are columns: a prompt with a comma
    that is in no quotes would lose what comes after it."""
    if row.lacking < 0:
        try:
            refuse_broken(row)
        except PromptError as err:
            raise PromptError(f"{row.place} of {source}: {err}") from err


def refuse_broken(row: Row) -> None:
    """Raise PromptError where a row has fewer or more cells than there are columns."""
    if row.lacking:
        many = f"{abs(row.lacking)} cell{'' if abs(row.lacking) == 1 else 's'}"
        raise PromptError(
            f"it has {many} {'fewer' if row.lacking > 0 else 'more'} than there are columns; check "
            "its commas, and put a cell that holds one into quotes"
        )


def require_column(wanted: Sequence[str], columns: Collection[str], source: object) -> None:
    """Raise PromptError, naming the nearest, where `source` has a column by none of these names."""
    if any(name in columns for name in wanted):
        return

    def likeness(name: str) -> float:
        ratios = (SequenceMatcher(None, name, column.lower()).ratio() for column in columns)
        return max(ratios, default=0.0)

    hint = nearest(max(wanted, key=likeness), columns)
    raise PromptError(f"{source} has no column {' or '.join(map(repr, wanted))}; {hint}; rename it")


def _lines(file: TextIO, path: Path) -> Iterator[Row]:
    position = 0
    for number, line in enumerate(file, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield Row(position, f"line {number}", {PROMPT: line.strip()})
            position += 1


def _csv(file: TextIO, path: Path) -> Iterator[Row]:
    rows = csv.reader(file, skipinitialspace=True, strict=True)
    try:
        columns = [name.strip() for name in next(rows, [])]
        _refuse_repeats(columns, path)
        position = 0
        for cells in rows:
            if any(cells):
                place = f"row {position + 1} (line {rows.line_num})"
                pairs = zip_longest(columns, cells[: len(columns)])
                yield Row(position, place, dict(pairs), len(columns) - len(cells))
                position += 1
    except csv.Error as err:
        raise PromptError(
            f"line {rows.line_num} of {path} is not CSV: {err}; check its quotes"
        ) from err


def _refuse_repeats(columns: list[str], path: Path) -> None:
    for name in columns:
        if name and columns.count(name) > 1:
            raise PromptError(f"{path} has more than one column {name!r}; rename the others")


def _jsonl(file: TextIO, path: Path) -> Iterator[Row]:
    position = 0
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as err:  # also numbers of too many digits
            reason = err.msg if isinstance(err, json.JSONDecodeError) else str(err)
            raise PromptError(f"line {number} of {path} is not JSON: {reason}") from err
        if not isinstance(cells, dict):
            raise PromptError(f'line {number} of {path} is no object; write {{"{PROMPT}": "..."}}')
        yield Row(position, f"line {number}", cells)
        position += 1


_READERS: Final[Mapping[str, Callable[[TextIO, Path], Iterator[Row]]]] = {
    ".txt": _lines,
    ".csv": _csv,
    ".jsonl": _jsonl,
}
