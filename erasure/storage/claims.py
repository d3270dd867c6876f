"""One writer for a file or a folder at a time: a lock that dies with its process.

The lock of `out/church` is on the file `out/.church.lock`, which lies beside what is written and
never in it. That file goes when its writer is done. A killed writer leaves the file, not the lock.
"""

import errno
import hashlib
import logging
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from erasure.errors import CheckpointError, DiskError, InUseError
from erasure.storage.disk import disk_errors
from erasure.storage.links import resolved

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)
_LONGEST: Final = 240
"""Bytes of a name that the name of its lock holds; file systems take 255."""
_TAKEN: Final = (errno.EACCES, errno.EAGAIN)
"""What the system answers where another process holds a lock."""
_DENIED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_TRIES: Final = 100
"""How often others may remove the lock's file, or its folder, while it is being taken."""
_FLAGS: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_HOLDER: Final = re.compile(r"(\d{1,20}) ([A-Za-z0-9_.-]{1,255})\n")


@dataclass(slots=True)
class _Hold:
    """A claim of this process."""

    lock: Path | None = None
    """The lock's file; None where the folder itself is locked, or nothing can be."""
    file: int | None = None
    """The open file that holds the lock."""
    made: list[Path] = field(default_factory=list)
    """Folders that were not there before."""
    blocks: int = 0

    def let_go(self) -> None:
        if self.file is not None:
            if self.lock is not None:
                with suppress(OSError):
                    self.lock.unlink()  # while it is locked, so that no other is in it
            os.close(self.file)
        for folder in reversed(self.made):
            with suppress(OSError):  # it holds something by now
                folder.rmdir()


_held: Final[dict[str, _Hold]] = {}
"""Lock -> claim. The system lets a process take its own lock again, and drops it at any close."""
_guard: Final = threading.Lock()


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Keep other processes from claiming `path` until the block ends, or this process does.

    A claim within one of the same process and path is the same claim; it does not keep threads
    apart. Folders that are missing above `path` are made, and go again if they stay empty. Where
    the file system has no locks, a warning says so and the block runs.

    Args:
        path: a file or a folder that is to be written; it need not exist.

    Raises:
        InUseError: another process has claimed it.
        CheckpointError: a file is in the way of a folder, or the path is none that a disk can hold.
        DiskError: the disk refuses.
    """
    target = _behind(path)
    lock = _lock_of(target)
    key = os.path.realpath(lock)
    with _guard:
        hold = _held.get(key)
        if hold is None:
            hold = _held[key] = _taken(path, target, lock)
        hold.blocks += 1
    try:
        yield
    finally:
        with _guard:
            hold.blocks -= 1
            if not hold.blocks:
                del _held[key]
                hold.let_go()


def _behind(path: Path) -> Path:
    """The path with a name of its own, which no link has."""
    try:
        own = resolved(path) if path.is_symlink() or path.name in ("", "..") else path
    except OSError as err:  # a name that is too long, links in a circle
        reason = getattr(err, "strerror", None) or err
        raise CheckpointError(f"cannot write {path}: {reason}; give another path") from err
    if not own.name:
        raise CheckpointError(f"cannot write {path}: it is the root of a disk; name a folder in it")
    return own


def _lock_of(path: Path) -> Path:
    name = path.name
    if len(os.fsencode(name)) > _LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}.lock")


def _taken(path: Path, target: Path, lock: Path) -> _Hold:
    """Take the lock; messages name `path`, which may be a link to `target`."""
    hold = _Hold(lock)
    try:
        with disk_errors(path):
            _lock(path, lock, hold)
    except BaseException as err:
        hold.let_go()
        cause = err.__cause__ if isinstance(err, DiskError) else None
        if isinstance(cause, OSError) and cause.errno in _DENIED and target.is_dir():
            return _folder_taken(path, target)
        raise
    return hold


def _lock(path: Path, lock: Path, hold: _Hold) -> None:
    """Make the lock's file, lock it where that can be, and write this process into it."""
    missing: FileNotFoundError | None = None
    for _ in range(_TRIES):
        try:
            _make_folders(path, lock.parent, hold.made)
            file = os.open(lock, _FLAGS, 0o666)
        except FileNotFoundError as err:  # a folder went, with the claim that had made it
            missing = err
            continue
        missing = None
        try:
            ours = not _locks(file, path) or _is_at(file, lock)
        except BaseException:
            os.close(file)
            raise
        if ours:
            hold.file = file
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
            return
        os.close(file)
    if missing is not None:  # a folder that takes no files, as those of /proc
        raise missing
    raise _in_use(path, "")


def _make_folders(path: Path, folder: Path, made: list[Path]) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    there = missing[-1].parent if missing else folder
    if not there.is_dir():
        raise CheckpointError(f"cannot write {path}: {there} is a file; give the path of a folder")
    for each in reversed(missing):
        with suppress(FileExistsError):  # another process made it at the same time
            each.mkdir()
            made.append(each)


def _locks(file: int, path: Path) -> bool:
    """Lock an open file; False where the file system, or the machine, has no locks."""
    if sys.platform == "win32":
        _warn(path)
        return False
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        if err.errno in _TAKEN:
            raise _in_use(path, _holder(file)) from err
        _warn(path)
        return False
    return True


def _folder_taken(path: Path, folder: Path) -> _Hold:
    """Lock a folder that is there, where its neighbourhood takes no new file."""
    if sys.platform == "win32":
        return _Hold()
    with disk_errors(path):
        hold = _Hold(file=os.open(folder, os.O_RDONLY | os.O_CLOEXEC))
    assert hold.file is not None
    try:
        fcntl.flock(hold.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        if err.errno in _TAKEN:
            os.close(hold.file)
            raise _in_use(path, "") from err
        _warn(path)
    return hold


def _warn(path: Path) -> None:
    log.warning(
        "%s lies where nothing can be locked, so no other run is kept out of it; see to it that "
        "none writes there",
        path,
    )


def _is_at(file: int, lock: Path) -> bool:
    """Whether an open file is still the one of that name: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(lock))
    except FileNotFoundError:
        return False


def _holder(file: int) -> str:
    """The process that wrote itself into a lock's file, in words; empty where none did."""
    for _ in range(5):
        match = _HOLDER.fullmatch(os.pread(file, 300, 0).decode(errors="replace"))
        if match is not None:
            number, host = match.groups()
            there = "" if host == socket.gethostname() else f" on {host}"
            return f" (process {number}{there})"
        time.sleep(0.002)  # it has just taken the lock
    return ""


def _in_use(path: Path, holder: str) -> InUseError:
    return InUseError(f"{path} is in use by another run{holder}; wait for it, or give another path")
