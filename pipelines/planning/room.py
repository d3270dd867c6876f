"""How much memory is free, and how fast a device multiplies matrices."""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import torch

_MEMINFO: Final = Path("/proc/meminfo")
_SECONDS: Final = 0.15
"""How long a probe computes."""
_LONGEST: Final = 2.0
"""Seconds after which it ends on a machine that is busy with other work."""
REACHED: Final = {"cpu": 0.6, "cuda": 0.4, "mps": 0.4}
"""Share of the rate of large products that whole passes reach: on a CPU as measured (see
docs/memory.md), elsewhere a guess."""


BUS: Final = 25e9
"""Bytes a second between main memory and a device, stated: what PCIe 4.0 x16 reaches of its 32."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A card that is planned for without being there, and what its maker states of it."""

    name: str
    full: float
    """Floating-point operations a second of float32 products."""
    half: float
    """The same of bfloat16, with sums in float32 and nothing left out."""


CHIPS: Final[Mapping[str, Chip]] = {
    "8gb": Chip("RTX 3070", 20.3e12, 40.6e12),
    "12gb": Chip("RTX 3060", 12.7e12, 25.5e12),
    "24gb": Chip("RTX 4090", 82.6e12, 165.2e12),
    "48gb": Chip("RTX A6000", 38.7e12, 154.8e12),
    "80gb": Chip("A100", 19.5e12, 312e12),
}
"""Name of `--fit` -> a chip of that size."""


def free_main() -> int | None:
    """Bytes of main memory that this process may take; None where the system does not say.

    Of several that a launcher started on this machine each needs its own, so that each may take its
    part of what is free.
    """
    if not _MEMINFO.exists():
        return None
    match = re.search(r"^MemAvailable:\s+(\d+) kB", _MEMINFO.read_text(encoding="ascii"), re.M)
    together = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return int(match[1]) * 1024 // together if match else None


def free_on(device: torch.device) -> int | None:
    """Bytes free on a device with a memory of its own; None for others."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a device multiplies, and how much of it this program gets."""

    products: float
    """Floating-point operations a second of square products, where nothing else is at work."""
    share: float
    """Share of the program's processors that other work leaves it now; 1 where it has all."""


@lru_cache
def speed_of(device: torch.device, dtype: torch.dtype) -> Speed:
    """Multiply square matrices for a moment.

    On a CPU the seconds are those that its processors gave: of a moment in which another program
    ran instead, an hour would be made where a minute is needed.
    """
    side = 512 if device.type == "cpu" else 4096
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    matrix @ matrix  # the first one sets libraries up
    _wait(device)
    begun, used, count = time.perf_counter(), time.process_time(), 0
    passed = spent = 0.0
    while spent < _SECONDS and passed < _LONGEST:
        matrix @ matrix
        _wait(device)
        count += 1
        passed = time.perf_counter() - begun
        spent = passed
        if device.type == "cpu":
            spent = min(passed, (time.process_time() - used) / torch.get_num_threads())
    spent = max(spent, 1e-6)  # a clock of processors may tick coarsely
    return Speed(2 * side**3 * count / spent, min(1.0, spent / passed))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
