"""Pictures from a folder: with a table by the `imagefolder` convention of `datasets`, or with
captions as kohya's scripts want them."""

import csv
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

from erasure.errors import ConfigError
from erasure.storage.regular_files import require_regular
from eval.pictures.picture_files import endings, is_picture, visible
from pipelines.data import captions
from pipelines.drawing.pictures import Picture, read_pictures, require_readable, sampled
from prompts.nearest import nearest

METADATA: Final = ("metadata.jsonl", "metadata.csv")
FILE_COLUMN: Final = "file_name"
PROMPT_COLUMNS: Final = ("prompt", "text")
"""The first that is there is taken."""

_log = logging.getLogger(__name__)


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


def shown_pictures(
    folder: Path, *, size: int, plain: str, reads_text: bool, limit: int, seed: int
) -> Iterator[Picture]:
    """Squares of pictures that show a concept, each file once; at most `limit`, chosen by `seed`.

    Args:
        plain: the prompt of all where the folder has no prompts, or the model is told a class.
        reads_text: whether the model reads prompts.

    Raises:
        ConfigError: as `folder_entries`.
    """
    prompt, otherwise = (None, plain) if reads_text else (plain, None)
    entries = {e.path: e for e in folder_entries(folder, prompt=prompt, otherwise=otherwise)}
    listed = ((e.path, e.prompt, str(e.path)) for e in entries.values())
    return read_pictures(sampled(listed, limit, seed), size)


def folder_entries(
    folder: Path, *, prompt: str | None = None, otherwise: str | None = None
) -> tuple[Entry, ...]:
    """The pictures of a folder and of those in it, with their prompts, in a fixed order.

    With a `metadata.jsonl` or `metadata.csv` in it or in folders below: a row a picture,
    `file_name` relative to that file, and `prompt` or `text`. Without one: a caption beside each
    picture, and folders such as `10_church`, see `pipelines.data.captions`. A warning counts the
    files that are left out.

    Args:
        folder: as above.
        prompt: one for all pictures; neither a table nor a caption is read then.
        otherwise: one for all pictures where there is neither.

    Raises:
        ConfigError: there is no such folder, no picture in it, one of a format that cannot be read,
            no prompt for them, or a table or caption that is not as above.
    """
    if not folder.is_dir():
        fault = "is a file, not a folder" if folder.exists() else "is not there"
        raise ConfigError(f"the picture folder {folder} {fault}; check the path")
    files = visible(folder)
    tables = [path for path in files if path.name in METADATA]
    beside = captions.caption_files(files) if prompt is None and not tables else {}
    if prompt is None and tables:
        for table in tables:
            if table.name != METADATA[0] and table.with_name(METADATA[0]) in tables:
                raise ConfigError(f"{table.parent} has both {' and '.join(METADATA)}; keep one")
        entries = tuple(entry for table in tables for entry in _read_table(table))
        require_readable([entry.path for entry in entries if is_picture(entry.path)])
    else:
        pictures = [path for path in files if is_picture(path)]
        if not beside and not any(map(captions.folder_name, pictures)):
            prompt = otherwise if prompt is None else prompt
        entries = _untabled(folder, pictures, beside, prompt)
    for entry in entries:
        require_regular(entry.path, ConfigError)
    if not entries:
        raise ConfigError(f"the picture folder {folder} has no picture; add .png or .jpg files")
    used = {entry.path for entry in entries} | set(tables) | set(beside.values())
    _tell_left_out(folder, [path for path in files if path not in used])
    return entries


def _untabled(
    folder: Path, pictures: Sequence[Path], beside: Mapping[Path, Path], prompt: str | None
) -> tuple[Entry, ...]:
    """Pictures with captions, or with one prompt for all, each as often as its folder says."""
    if not pictures:
        return ()
    require_readable(pictures)
    if prompt is not None:
        prompts = [prompt] * len(pictures)
    elif beside or any(captions.folder_name(picture) for picture in pictures):
        prompts = captions.prompts_of(pictures, beside)
        named = len(pictures) - len(beside)
        remark = f"; the folder's name serves as prompt of {named} more" if named else ""
        _log.warning("%s: captions read (first line of each): %d%s", folder, len(beside), remark)
    else:
        raise ConfigError(
            f"the picture folder {folder} has no {' or '.join(METADATA)}, its pictures have no "
            f"captions ({' or '.join(captions.ENDINGS)} beside each) and no prompt is given; add "
            "one of them"
        )
    repeats = captions.repeats_of(pictures)
    if max(repeats) > 1:
        _log.warning(
            "%s: pictures are taken 1 to %d times, by the numbers of their folders",
            folder,
            max(repeats),
        )
    return tuple(
        Entry(picture, text)
        for picture, text, count in zip(pictures, prompts, repeats, strict=True)
        for _ in range(count)
    )


def _tell_left_out(folder: Path, files: Sequence[Path]) -> None:
    """Nothing that might have been meant as a picture or a caption is passed over in silence."""
    if files:
        _log.warning("%s: left out files that no prompt goes with: %s", folder, endings(files))


def _read_table(table: Path) -> Iterator[Entry]:
    require_regular(table, ConfigError)
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
        if not os.path.exists(path) or os.path.isdir(path):  # unlike Path's, for names too long
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
        except (ValueError, RecursionError) as err:  # also numbers of too many digits
            reason = err.msg if isinstance(err, json.JSONDecodeError) else err
            raise ConfigError(f"line {number} of {table} is not JSON: {reason}") from err
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
