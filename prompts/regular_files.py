"""Only regular files of text are read: a pipe waits for ever, and a device may have no end."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prompts.errors import PromptError


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


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say of a file of prompts that the block reads why it cannot be.

    Raises:
        PromptError: it is not there, is no regular file, is not UTF-8, or the system refuses.
    """
    if kind := irregular(path):
        raise PromptError(f"the prompt file {path} is {kind}; give a regular file")
    try:
        yield
    except FileNotFoundError as err:
        raise PromptError(f"there is no prompt file {path}; check the path") from err
    except UnicodeDecodeError as err:
        raise PromptError(f"the prompt file {path} is not text in UTF-8; save it as such") from err
    except OSError as err:
        raise PromptError(f"the prompt file {path} cannot be read: {err.strerror}") from err
