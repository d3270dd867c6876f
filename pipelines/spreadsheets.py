"""Tables that people open in a spreadsheet: none of their cells may be run as a formula."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from erasure.storage.files import atomic

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
"""What a spreadsheet takes for the start of a formula, the full-width forms too."""


def safe_cell(value: object) -> object:
    """Text that a spreadsheet would run as a formula gets an apostrophe before it; numbers stay.

    Source: OWASP, CSV injection.
    """
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> Path:
    """Write rows, the head first, whole or not at all; DiskError where the disk refuses."""
    with atomic(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows(map(safe_cell, row) for row in rows)
    return path
