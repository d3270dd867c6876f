"""Only regular files are read: a pipe waits for ever, and a device may have no end."""

import stat
from pathlib import Path


def irregular(path: Path) -> str:
    """What a path leads to where that is a named pipe, a device or a socket; else no text.

    What is not there, or is a folder, is left to the one who opens it.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # no such file, or a name that no file can have
        return ""
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
