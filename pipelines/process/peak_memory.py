"""The most memory that a block holds: of the device where it has its own, else of the process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

_RESET: Final = Path("/proc/self/clear_refs")
_STATUS: Final = Path("/proc/self/status")


@dataclass(slots=True)
class Peak:
    """What a block held at most."""

    size: int | None = None
    """Bytes, once the block has ended; None where the system does not say."""


@contextmanager
def peak_of(device: torch.device) -> Iterator[Peak]:
    """Measure the block; on a CPU all that the process holds counts, its libraries too.

    Source: proc(5): writing 5 to `clear_refs` sets the peak `VmHWM` to what is resident now.
    """
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.size = int(torch.cuda.max_memory_allocated(device))
        return
    known = device.type == "cpu" and _reset()
    yield peak
    peak.size = _highest() if known else None


def _reset() -> bool:
    try:
        _RESET.write_text("5")
    except OSError:  # another system, or one that forbids it
        return False
    return True


def _highest() -> int | None:
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return 1024 * int(sizes[0]) if sizes else None
