"""Names of what is half-written: each writer has one of its own, which says whose it is.

`weights.safetensors` is written as `weights.safetensors.HOST-PID-RANDOM.part`, so that two writers
of one file never share bytes; whoever renames last wins. HOST is a hash of the machine's name and
the process's own world of numbers, so that a container's process 1 is not taken for another's.
"""

import hashlib
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

_OWNER: Final = r"\.([0-9a-f]{8})-([0-9]{1,10})-[0-9a-f]{8}"
_NAME: Final = re.compile(rf".*{_OWNER}\.part", re.DOTALL)
_OWNED: Final = re.compile(rf".*{_OWNER}\.(?:part|replaced)", re.DOTALL)
_LONGEST: Final = 255
"""Bytes of a name that file systems take."""
_OLD: Final = 24 * 3600
"""Seconds without a write after which a part of another machine, which cannot be asked, is left."""
_swept: Final[set[str]] = set()
"""Folders that this process has looked through."""


def part_of(path: Path) -> Path:
    """A name beside `path` that no other writer has."""
    return _beside(path, "part")


def aside_of(path: Path) -> Path:
    """The same for what is at `path` while something else takes its place."""
    return _beside(path, "replaced")


def left_aside(path: Path) -> list[Path]:
    """What dead writers set aside of `path`, the last first."""
    short = _shortened(path.name, _LONGEST - len(aside_of(Path("")).name))
    name = re.compile(rf"{re.escape(short)}{_OWNER}\.replaced", re.DOTALL)
    entries = path.parent.iterdir() if path.parent.is_dir() else ()
    left = [entry for entry in entries if name.fullmatch(entry.name) and _is_left(entry)]
    return sorted(left, key=lambda entry: entry.lstat().st_mtime, reverse=True)


def _beside(path: Path, ending: str) -> Path:
    tail = f".{_host()}-{os.getpid()}-{os.urandom(4).hex()}.{ending}"
    return path.parent / f"{_shortened(path.name, _LONGEST - len(tail))}{tail}"


def _shortened(name: str, room: int) -> str:
    """A name of at most so many bytes."""
    text = os.fsencode(name)
    return name if len(text) <= room else text[:room].decode(errors="ignore")


def parts_in(folder: Path, name: str = "") -> Iterator[Path]:
    """What any writer has half-written in a folder, files and folders, or for one name of it."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(f"{name}." if name else "") and _NAME.fullmatch(entry.name):
                yield folder / entry.name


def remove_leftovers(folder: Path, *, once: bool = False) -> None:
    """Remove what dead writers left half-written in a folder; errors are not told.

    Left is what a process of this machine wrote that has ended, and of any machine what nobody has
    written to for a day.

    Args:
        once: do nothing where this process has done it: a folder of very many files is slow to
            look through at each of them.
    """
    place = os.path.abspath(folder)
    if once and place in _swept:
        return
    _swept.add(place)
    with suppress(OSError):
        for part in list(parts_in(folder)):
            if _is_left(part):
                remove(part)


def remove(part: Path) -> None:
    """Remove a file or a folder that was half-written, if it is there; errors are not told."""
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part, ignore_errors=True)
    else:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _is_left(part: Path) -> bool:
    match = _OWNED.fullmatch(part.name)
    assert match is not None, "no other names are asked for"
    host, number = match.groups()
    if host == _host() and not _is_alive(int(number)):
        return True
    return time.time() - _last_write(part) > _OLD


def _is_alive(number: int) -> bool:
    if sys.platform == "win32":  # where a signal of number 0 would end it
        return True
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return number > 0


def _last_write(part: Path) -> float:
    """Time of the last change of a file, or of anything in a folder."""
    inner = part.rglob("*") if part.is_dir() else ()
    times: list[float] = [path.lstat().st_mtime for path in (part, *inner)]
    return max(times)


@cache
def _host() -> str:
    numbers = ""
    with suppress(OSError):
        numbers = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{socket.gethostname()} {numbers}".encode()).hexdigest()[:8]
