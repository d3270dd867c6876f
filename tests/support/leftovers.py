"""Writers that fail: what a killed one leaves beside a file, and a disk that is full."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from erasure.storage.parts import aside_of, part_of

_NOBODY = 4_194_305
"""Above the largest number that Linux gives a process."""


def left_by_the_dead(path: Path, content: bytes = b"half") -> Path:
    """Write what a process of this machine that is gone has half-written for `path`."""
    name = part_of(path).name.replace(f"-{os.getpid()}-", f"-{_NOBODY}-")
    part = path.with_name(name)
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(content)
    return part


def aside_by_the_dead(path: Path) -> Path:
    """Where a process of this machine that is gone has set aside what was at `path`."""
    return path.with_name(aside_of(path).name.replace(f"-{os.getpid()}-", f"-{_NOBODY}-"))


def without_owners(name: str) -> str:
    """A name with `.part` alone in the place of whose it is."""
    return re.sub(r"\.[0-9a-f]{8}-[0-9]+-[0-9a-f]{8}\.part$", ".part", name)


@contextmanager
def no_space_for(name: str) -> Iterator[None]:
    """Let every rename to this name find no space."""
    put = os.replace

    def full(source: str, target: str) -> None:
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", full)
        yield
