"""Processes that a job has written down: whether they still run, whatever has their numbers now."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def note_of(pid: int) -> dict[str, Any]:
    """What is written down of a process, for `runs`."""
    return {"pid": pid, "started": started(pid)}


def runs(process: Mapping[str, Any]) -> bool:
    """Whether the process is the one that was written down: its number may be another's by now."""
    pid = process.get("pid")
    return isinstance(pid, int) and started(pid) == process.get("started") != ""


def started(pid: int) -> str:
    """When a process was started, in the system's own ticks; empty where there is none, or where it
    has ended and nobody has asked how. Where the system does not say when, a word that it is there.
    """
    try:
        facts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return "" if facts[0] in ("Z", "X") else facts[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "at some time"
