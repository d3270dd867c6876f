"""What else was lost as a table: `damage.csv`, a row a measure and group."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from erasure.storage.files import atomic
from pipelines.audit.damage.rows import rows_of
from pipelines.spreadsheets import safe_cell

FILE_NAME: Final = "damage.csv"
_COLUMNS: Final = (
    "measure",
    "group",
    "before",
    "after",
    "change",
    "low",
    "high",
    "pictures",
    "test",
)


def write_damage_table(damage: Mapping[str, Any], folder: Path) -> Path:
    """Write the table, its head alone where nothing was measured; DiskError where the disk
    refuses."""
    path = folder / FILE_NAME
    with atomic(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for row in rows_of(damage):
            values = (getattr(row, name) for name in _COLUMNS)
            writer.writerow(
                round(value, 6) if isinstance(value, float) else safe_cell(value)
                for value in values
            )
    return path
