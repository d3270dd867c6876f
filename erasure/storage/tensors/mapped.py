"""Weights that stay mapped to their file: what was read of it need not stay in memory."""

import ctypes
import re
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from torch import Tensor

_DONTNEED: Final = 4  # MADV_DONTNEED of Linux
_LEAST: Final = 4_000_000
"""Bytes; to walk through all mappings of a process takes longer than fewer are worth."""
_SMAPS: Final = Path("/proc/self/smaps")
_HEAD: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)")


def let_go(tensors: Iterable[Tensor]) -> int:
    """Drop the pages of files that tensors are mapped to; the next use reads them again.

    They count as memory of this process as long as they are there: once a checkpoint was read, as
    much as its weights. Mappings with a page that was written to, tensors in memory of their own,
    tensors that together are small, and other systems than Linux are left alone.

    Returns:
        Bytes of the mappings.
    """
    if not sys.platform.startswith("linux") or not _SMAPS.exists():
        return 0
    own = [tensor for tensor in tensors if tensor.device.type == "cpu"]
    if sum(tensor.nbytes for tensor in own) < _LEAST:
        return 0
    places = sorted(tensor.data_ptr() for tensor in own)
    libc = ctypes.CDLL(None)
    dropped = 0
    for start, end in _clean_files():
        first = bisect_left(places, start)
        if first < len(places) and places[first] < end:
            failed = libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONTNEED)
            dropped += 0 if failed else end - start
    return dropped


def _clean_files() -> Iterator[tuple[int, int]]:
    """Addresses of the mappings of files, but for those that hold anything else than the file."""
    place, clean = (0, 0), False
    for line in _SMAPS.read_text().splitlines():
        head = _HEAD.match(line)
        if head:
            if clean:
                yield place
            place = (int(head[1], 16), int(head[2], 16))
            clean = head[4] != "0" and head[3].startswith("r")
        elif line.startswith(("Anonymous:", "Swap:")) and line.split()[1] != "0":
            clean = False
    if clean:
        yield place
