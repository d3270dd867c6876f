"""What the tests run in other processes ends, whatever it does."""

import os
import time
from pathlib import Path

import pytest
from support.console import command

HANGS = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-Sc", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
time.sleep(600)
"""


def test_a_process_that_hangs_is_ended_with_what_it_started() -> None:
    begun = time.monotonic()
    with pytest.raises(
        pytest.fail.Exception, match=r"did not end in 2 s; it said:\nchild"
    ) as failure:
        command("-Sc", HANGS, seconds=2)
    assert time.monotonic() - begun < 60
    child = str(failure.value).rpartition("child ")[2].split()[0]
    gone = time.monotonic() + 30
    while _runs(child) and time.monotonic() < gone:
        time.sleep(0.01)
    assert not _runs(child)


def _runs(number: str) -> bool:
    """Whether a process is there and no zombie."""
    try:
        os.kill(int(number), 0)
        state = Path(f"/proc/{number}/stat").read_text(encoding="utf-8")
    except (OSError, ProcessLookupError):
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def test_what_a_process_says_and_how_it_ends_is_given() -> None:
    said = command("-Sc", "import os; print(os.environ['MORE']); raise SystemExit(3)", MORE=7)
    assert (said.code, said.out, said.err) == (3, "7\n", "")
