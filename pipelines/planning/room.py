"""How much memory is free, and how fast a device multiplies matrices."""

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
"""How long a probe takes."""
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
    """Bytes of main memory that new programs may take; None where the system does not say."""
    if not _MEMINFO.exists():
        return None
    match = re.search(r"^MemAvailable:\s+(\d+) kB", _MEMINFO.read_text(encoding="ascii"), re.M)
    return int(match[1]) * 1024 if match else None


def free_on(device: torch.device) -> int | None:
    """Bytes free on a device with a memory of its own; None for others."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


@lru_cache
def products_a_second(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of square products, probed for a moment."""
    side = 512 if device.type == "cpu" else 4096
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    matrix @ matrix  # the first one sets libraries up
    _wait(device)
    begun, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - begun) < _SECONDS:
        matrix @ matrix
        _wait(device)
        count += 1
    return 2 * side**3 * count / spent


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
