"""What a killed writer leaves beside a file."""

import os
import re
from pathlib import Path

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
