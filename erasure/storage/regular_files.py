"""Only regular files are read: a pipe waits for ever, and a device may have no end."""

import stat
from pathlib import Path

from erasure.errors import CheckpointError


def require_regular(path: Path, error: type[Exception] = CheckpointError) -> Path:
    """The path itself; what is not there, or is a folder, is left to the one who opens it.

    Raises:
        CheckpointError: it is a named pipe, a device or a socket; `error` names another class.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # no such file, or a name that no file can have
        return path
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return path
    raise error(
        f"{path} is {_kind(mode)} and not a regular file; only regular files are read, so write "
        "its content to one"
    )


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
