"""Write files so that a reader never meets half of one."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from erasure.storage.disk import disk_errors
from erasure.storage.parts import part_of, remove_leftovers


@contextmanager
def atomic(path: Path, *, keep: Path | None = None) -> Iterator[Path]:
    """Yield a name to write to; it takes the place of `path` only if the block succeeds.

    The bytes are on the disk before the name changes, so that a crash leaves the old file or the
    new one. Of several that write one path at once, each has a name of its own, and the last to end
    wins. Whatever fails, nothing half-written stays; what a killed process left beside `path` goes.

    Args:
        keep: where the file that was at `path` goes; None drops it. A crash between the two
            renames leaves it there, and nothing at `path`.

    Raises:
        DiskError: the disk refuses, here or in the block.
    """
    part = part_of(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, once=True)
        try:
            yield part
            flush(part)
            if keep is not None and path.exists():
                with suppress(FileNotFoundError):  # another writer has just moved it there
                    os.replace(path, keep)
            os.replace(part, path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Return when the bytes of a file are on the disk."""
    with path.open("rb") as written:
        os.fsync(written.fileno())


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:  # noqa: ANN401
    """Write a value as JSON in UTF-8, whole or not at all, with a line's end after it.

    Half a surrogate pair, as a path may hold that is no text, is written as JSON escapes it.

    Args:
        indent: spaces a level; None writes all on one line.

    Raises:
        DiskError: the disk refuses.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    with atomic(path) as part:
        part.write_text(f"{text}\n", encoding="utf-8", errors="backslashreplace")
