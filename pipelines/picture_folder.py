"""Pictures from a folder, by the `imagefolder` convention of `datasets`, read without it."""

import csv
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

from erasure.errors import ConfigError
from pipelines.pictures import Picture, read_pictures, sampled
from prompts.nearest import nearest

METADATA: Final = ("metadata.jsonl", "metadata.csv")
FILE_COLUMN: Final = "file_name"
PROMPT_COLUMNS: Final = ("prompt", "text")
"""The first that is there is taken."""
ENDINGS: Final = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of a folder, not yet decoded."""

    path: Path
    prompt: str


def folder_pictures(
    folder: Path,
    *,
    size: int,
    prompt: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Iterator[Picture]:
    """Squares of `size` pixels from a folder; at most `limit`, chosen by `seed`.

    Everything but the decoding happens, and fails, before this returns. For arguments and errors
    see `folder_entries` and `read_pictures`.
    """
    entries = folder_entries(folder, prompt=prompt)
    listed = ((e.path, e.prompt, str(e.path)) for e in entries)
    return read_pictures(sampled(listed, limit, seed), size)


def folder_entries(folder: Path, *, prompt: str | None = None) -> tuple[Entry, ...]:
    """The pictures of a folder and of those in it, with their prompts, in a fixed order.

    Args:
        folder: with a `metadata.jsonl` or `metadata.csv` in it or in folders below: a row a
            picture, `file_name` relative to that file, and `prompt` or `text`. Pictures that no
            row names are left out.
        prompt: one for all pictures; no metadata is read then.

    Raises:
        ConfigError: there is no such folder, no picture in it, no prompt for them, or a metadata
            file that is not as above.
    """
    if not folder.is_dir():
        found = "is a file, not a folder" if folder.exists() else "is not there"
        raise ConfigError(f"the picture folder {folder} {found}; check the path")
    if prompt is not None:
        entries = tuple(Entry(path, prompt) for path in _visible(folder) if _is_picture(path))
    else:
        tables = [path for path in _visible(folder) if path.name in METADATA]
        if not tables:
            raise ConfigError(
                f"the picture folder {folder} has no {' or '.join(METADATA)} and no prompt is "
                "given; add the file or give one prompt for all"
            )
        for table in tables:
            if table.name != METADATA[0] and table.with_name(METADATA[0]) in tables:
                raise ConfigError(f"{table.parent} has both {' and '.join(METADATA)}; keep one")
        entries = tuple(entry for table in tables for entry in _read_table(table))
    if not entries:
        raise ConfigError(f"the picture folder {folder} has no picture; add .png or .jpg files")
    return entries


def _visible(folder: Path) -> list[Path]:
    """All files below, sorted, without hidden ones and what is in hidden folders."""
    return sorted(
        Path(parent, name)
        for parent, folders, names in _walk(folder)
        for name in names
        if not name.startswith(".")
    )


def _walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield parent, folders, names


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def _read_table(table: Path) -> Iterator[Entry]:
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{table} cannot be read as text in UTF-8: {err}") from err
    rows = _json_rows(text, table) if table.suffix == ".jsonl" else _csv_rows(text, table)
    for number, row in rows:
        name = _cell(row, (FILE_COLUMN,), table, number)
        inside = os.path.normpath(name)
        if os.path.isabs(inside) or inside.split(os.sep)[0] == os.pardir:
            raise ConfigError(
                f"line {number} of {table} names {name!r}, which lies outside its folder; "
                "copy the picture there"
            )
        path = table.parent / inside
        if not path.is_file():
            raise ConfigError(
                f"line {number} of {table} names {name!r}, but there is no such file; "
                "add it or take the line out"
            )
        yield Entry(path, _cell(row, PROMPT_COLUMNS, table, number))


def _cell(row: Mapping[str, object], columns: tuple[str, ...], table: Path, number: int) -> str:
    """The text in the first of these columns that is there."""
    column = next((column for column in columns if column in row), None)
    if column is None:
        raise ConfigError(
            f"line {number} of {table} has no {' or '.join(columns)}; "
            f"{nearest(columns[0], map(str, row))}; rename it"
        )
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"the {column} in line {number} of {table} is no text but {value!r}")
    return value.strip()


def _json_rows(text: str, table: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as err:
            raise ConfigError(f"line {number} of {table} is not JSON: {err.msg}") from err
        if not isinstance(row, dict):
            raise ConfigError(f"line {number} of {table} is no JSON object")
        yield number, row


def _csv_rows(text: str, table: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    rows = csv.DictReader(StringIO(text, newline=""))
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as err:
        raise ConfigError(f"line {rows.line_num} of {table} is not CSV: {err}") from err
