"""Too little memory, by whatever type and words torch says it."""

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from erasure.errors import OutOfMemoryError

_WORDS: Final = (
    "DefaultCPUAllocator",
    "out of memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""Words by which a RuntimeError says so: the CPU's, Metal's, and those of CUDA's libraries, which
do not raise `torch.OutOfMemoryError`."""


def is_out_of_memory(err: BaseException) -> bool:
    """Whether an error says that a device or the machine has too little memory."""
    if isinstance(err, (MemoryError, torch.OutOfMemoryError, OutOfMemoryError)):
        return True
    if isinstance(err, OSError):
        return err.errno == errno.ENOMEM
    return isinstance(err, RuntimeError) and any(words in str(err) for words in _WORDS)


@contextmanager
def memory_errors(doing: str) -> Iterator[None]:
    """Let what the block raises for want of memory be an OutOfMemoryError.

    The tensors of the functions that failed are freed, so that there is room to save.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as err:
        if not is_out_of_memory(err):
            raise
        traceback.clear_frames(err.__traceback__)
        raise OutOfMemoryError(doing) from err
