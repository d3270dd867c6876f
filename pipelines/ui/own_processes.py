"""Processes that a job has written down: whether they still run, whatever has their numbers now."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_MOST: Final = 2**31
"""Above the number of any process."""


def note_of(pid: int) -> dict[str, Any]:
    """What is written down of a process, for `runs`."""
    return {"pid": pid, "started": started(pid)}


def runs(process: Mapping[str, Any]) -> bool:
    """Whether the process is the one that was written down: its number may be another's by now."""
    pid = number_in(process)
    return pid is not None and started(pid) == process.get("started") != ""


def number_in(process: Mapping[str, Any]) -> int | None:
    """The number in what was written down of a process; None where it is none that a process has:
    signals to 0 and below go to many."""
    pid = process.get("pid")
    return pid if type(pid) is int and 0 < pid < _MOST else None


def started(pid: int) -> str:
    """When a process was started, in the system's own ticks; empty where there is none, or where it
    has ended and nobody has asked how. Where the system does not say when, a word that it is there.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()  # with its name, which may be no text
        facts = stat.rpartition(b")")[2].decode().split()
        return "" if facts[0] in ("Z", "X") else facts[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "at some time"
