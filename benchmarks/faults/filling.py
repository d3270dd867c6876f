"""A disk that fills up: from some operation on that takes space, a folder takes no more.

Python's own files and folders alone: what a library writes by itself, in C or Rust, is not seen.
"""

import builtins
import errno
import io
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

NO_SPACE = errno.ENOSPC, os.strerror(errno.ENOSPC)


@dataclass
class Disk:
    """Watches what takes space in a folder: a new file or folder, a write, a sync, a rename."""

    folder: Path
    fills: Callable[[int, str], bool]
    """Whether there is no space from operation N on, from 1; told `KIND PATH` too."""
    done: int = 0
    full: bool = False

    def refuses(self, kind: str, path: Any) -> bool:  # noqa: ANN401
        """Count an operation on a path, or on the number of an open file; whether it fails.

        A rename takes at most the space of a name, so it fails only where the disk fills up at it:
        what undoes it finds that space again.
        """
        if not self.holds(path):
            return False
        self.done += 1
        if self.full:
            return kind != "rename"
        self.full = self.fills(self.done, f"{kind} {_absolute(path).relative_to(self.folder)}")
        return self.full

    def holds(self, path: Any) -> bool:  # noqa: ANN401
        """Whether it lies in the folder, or in the current one, which may have become another."""
        folders = (self.folder, Path.cwd()) if self.full else (self.folder,)
        return any(_absolute(path).is_relative_to(folder) for folder in folders)


def _absolute(path: Any) -> Path:  # noqa: ANN401
    if isinstance(path, int):
        return Path(os.path.realpath(f"/proc/self/fd/{path}"))
    return Path(os.path.join(os.getcwd(), os.fsdecode(path)))


@contextmanager
def filling(folder: Path, fills: Callable[[int, str], bool]) -> Iterator[Disk]:
    """Let the disk that holds `folder` fill up; see `Disk`."""
    disk = Disk(Path(os.path.realpath(folder)), fills)

    class Raw(io.FileIO):
        def write(self, data: Any, /) -> int:  # noqa: ANN401
            if disk.refuses("write", self.name):
                raise OSError(*NO_SPACE)  # the system does not say which file
            return super().write(data)

    real = io.open

    def opened(
        file: Any,  # noqa: ANN401
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        if not set(mode) & set("wax+") or isinstance(file, int) or not disk.holds(file):
            return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if not os.path.lexists(file) and disk.refuses("new", file):
            raise OSError(*NO_SPACE, os.fspath(file))
        raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        buffered: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def checked(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *more: Any, **options: Any) -> Any:  # noqa: ANN401
            if not (kind == "new" and os.path.lexists(path)) and disk.refuses(kind, path):
                raise OSError(*NO_SPACE, *([] if isinstance(path, int) else [os.fspath(path)]))
            return function(path, *more, **options)

        return call

    kinds = {"mkdir": "new", "rename": "rename", "replace": "rename"}
    kinds |= {"fsync": "sync", "sendfile": "write"}
    with ExitStack() as stack:
        stack.enter_context(patch.object(builtins, "open", opened))
        stack.enter_context(patch.object(io, "open", opened))
        # Python 3.10 holds on to the function that was there when it was imported.
        stack.enter_context(patch.object(pathlib.Path, "open", opened))
        for name, kind in kinds.items():
            if hasattr(os, name):
                stack.enter_context(patch.object(os, name, checked(kind, getattr(os, name))))
        yield disk


@dataclass
class Branches:
    """At each operation a copy of the process finds the disk full, in a copy of the folder.

    The command itself goes on as if nothing was, so that one run is enough for all its writes. Its
    paths must be relative, as the copy of the process only has another current folder.
    """

    folder: Path
    to: Path
    """The copies: `000001` and so on, what each said as `000001.err`; `log` has a line for each,
    [number, operation, exit code] in JSON."""
    every: int = 1

    def __call__(self, number: int, operation: str) -> bool:
        """Whether this is the copy."""
        if (number - 1) % self.every:
            return False
        copy = self.to / f"{number:06d}"
        shutil.copytree(self.folder, copy)
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            said = os.open(copy.with_suffix(".err"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            os.chdir(copy)
            return True
        _, status = os.waitpid(child, 0)
        with (self.to / "log").open("a") as log:
            log.write(json.dumps([number, operation, os.waitstatus_to_exitcode(status)]) + "\n")
        return False
