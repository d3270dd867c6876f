"""What else was lost as a table: `damage.csv`, a row a measure and group."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipelines.audit.damage.rows import rows_of
from pipelines.spreadsheets import write_csv

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
    rows = ([_cell(getattr(row, name)) for name in _COLUMNS] for row in rows_of(damage))
    return write_csv(folder / FILE_NAME, (_COLUMNS, *rows))


def _cell(value: object) -> object:
    return round(value, 6) if isinstance(value, float) else value
