"""What a disk may refuse: no space, no permission, something in the way. Each as one sentence."""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from erasure.errors import CheckpointError, DiskError, way

_REASONS: Final[Mapping[int, str]] = {
    errno.ENOSPC: "the disk is full; free some space or write elsewhere",
    errno.EDQUOT: "the disk quota is used up; free some space or write elsewhere",
    errno.EROFS: "the file system is read-only; write elsewhere",
    errno.EACCES: "permission is denied; write elsewhere",
    errno.EPERM: "permission is denied; write elsewhere",
}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into a DiskError that says what to do about `path`.

    So also one that already is a DiskError about a file of `path`: the outermost names what was
    asked for, not a part that is gone by then.
    """
    try:
        yield
    except (OSError, DiskError) as err:
        cause = err if isinstance(err, OSError) else err.__cause__
        if not isinstance(cause, OSError):
            raise
        reason = _REASONS.get(cause.errno or 0, cause.strerror or str(cause))
        raise DiskError(f"cannot write {path}: {reason}") from cause


def require_space(path: Path, size: int) -> None:
    """Refuse to start on a write that cannot end.

    Args:
        path: what will be written; it need not exist, nor its folder.
        size: bytes it will take.

    Raises:
        DiskError: the disk that holds `path` has less free.
    """
    there = next(parent for parent in path.absolute().parents if parent.exists())
    with disk_errors(path):
        free = shutil.disk_usage(there).free
    if free < size:
        raise DiskError(
            f"{path} needs {_megabytes(size)} and {there} has {_megabytes(free)} free; "
            "free some space or write elsewhere"
        ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise CheckpointError where `path` exists and `force` is not set."""
    if not force and (path.exists() or path.is_symlink()):
        raise CheckpointError(
            f"{path} exists; give another path, or ", way("force", True), " to replace it"
        )


def refuse_taken_file(path: Path, *, force: bool) -> None:
    """The same for a file; a folder is never replaced by one.

    Raises:
        CheckpointError: a folder is there, or a file and `force` is not set.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; give the path of a file")
    refuse_existing(path, force=force)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
