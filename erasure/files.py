"""Write files so that a reader never meets half of one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from erasure.disk import disk_errors


@contextmanager
def atomic(path: Path, *, keep: Path | None = None) -> Iterator[Path]:
    """Yield `path.part` to write to; it takes the place of `path` only if the block succeeds.

    The bytes are on the disk before the name changes, so that a crash leaves the old file or the
    new one. Whatever fails, no `.part` stays behind.

    Args:
        keep: where the file that was at `path` goes; None drops it. A crash between the two
            renames leaves it there, and nothing at `path`.

    Raises:
        DiskError: the disk refuses, here or in the block.
    """
    part = path.with_name(f"{path.name}.part")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            with part.open("rb") as written:
                os.fsync(written.fileno())
            if keep is not None and path.exists():
                os.replace(path, keep)
            os.replace(part, path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
