"""How the C library keeps the memory that tensors leave."""

import ctypes
import os
import sys
from typing import Final

LARGE: Final = 2**20
"""Bytes of a block that is worth a call of the operating system."""

_M_MMAP_THRESHOLD: Final = -3  # malloc.h of glibc


def give_back_large_blocks() -> bool:
    """Let every block of a MB or more go back to the operating system as soon as it is free.

    glibc raises that limit by itself, up to 32 MB, and then keeps what activations leave, in pieces
    that the next ones do not fit: at the size of SD 1.x 0.7 GB of a peak of 9. Where the C library
    is another one, or the user has set MALLOC_MMAP_THRESHOLD_, nothing is changed.

    Returns:
        Whether the limit was set.

    Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    if not sys.platform.startswith("linux") or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_MMAP_THRESHOLD, LARGE) == 1
