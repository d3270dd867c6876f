"""What a large tensor leaves goes back to the operating system."""

import sys
from pathlib import Path

import pytest
from support.console import command

SCRIPT = """
import ctypes, sys
from pathlib import Path
from pipelines.process.heap import LARGE, give_back_large_blocks

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

if sys.argv[1] == "set":
    assert give_back_large_blocks()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
size = 8 * LARGE
libc.free(libc.malloc(2 * size))  # where nothing is set, this raises glibc's limit to 16 MB
blocks = [libc.malloc(size) for _ in range(8)]
for block in blocks:
    ctypes.memset(block, 1, size)
full = resident()
for block in blocks[:-1]:  # the last one stays, on top of the heap
    libc.free(block)
print(round((full - resident()) / size))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="about glibc")
@pytest.mark.parametrize(("how", "given_back"), [("not set", 0), ("set", 7)])
def test_free_blocks_below_one_in_use_are_given_back(
    tmp_path: Path, how: str, given_back: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    script = tmp_path / "blocks.py"
    script.write_text(SCRIPT)
    said = command(script, how)
    assert (said.code, said.out.strip()) == (0, str(given_back)), said.err
