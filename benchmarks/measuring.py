"""One measurement in a process of its own, and what the operating system says of its memory."""

import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """What a job tells of itself."""

    seconds: float
    """What the part that counts took."""
    peak: int
    """Bytes: the most memory the process held at any time, or of the device where it has one."""
    note: str = ""
    held: Mapping[str, int] = field(default_factory=dict)
    """What of it -> bytes, where the job can tell."""
    faster: float = 0.0
    """Times as fast as the released structure; 0 where that was not measured."""
    billed: int = 0
    """Bytes that the planner's bill has for it; 0 where it has none."""


def peak_bytes() -> int:
    """The most memory that was resident in this process so far.

    VmHWM where there is one: it begins at zero when the program starts, while `ru_maxrss` of a
    child may begin at what its parent held.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def tell(measured: Measured) -> None:
    """What a job does at its end."""
    print(json.dumps(asdict(measured)), flush=True)


def in_child(script: Path, arguments: list[str], seconds: float | None = None) -> Measured | str:
    """Run a script that ends with `tell`; text says why there is no result.

    Args:
        seconds: after which it is ended; None to wait for its end.
    """
    command = [sys.executable, str(script), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"ended after {seconds:.0f} s, as the time was over"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        how = f"signal {-done.returncode}" if done.returncode < 0 else last
        return f"failed: {how[:120]}"
    return Measured(**json.loads(done.stdout.strip().splitlines()[-1]))


def machine() -> str:
    """What the numbers were measured on, without importing torch."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.get("OMP_NUM_THREADS", cores)
    name = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        models = [line for line in cpu.read_text().splitlines() if line.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    torch = importlib.metadata.version("torch")
    return f"{name}, {threads} threads, {memory / 1e9:.0f} GB; torch {torch}"
