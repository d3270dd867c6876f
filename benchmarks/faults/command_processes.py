"""Commands of `erasure` as processes that can be killed: a new interpreter each, or forked."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parents[2]
KILLABLE = Path(__file__).with_name("killable.py")


class Running(Protocol):
    """A started command."""

    def code(self) -> int | None:
        """Exit code; None while it runs."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...


class Starter(Protocol):
    """Starts commands."""

    def start(self, order: Mapping[str, Any]) -> Running:
        """See `killable.py`."""
        ...


@dataclass
class Process:
    """An interpreter of its own."""

    process: subprocess.Popen[bytes]

    def code(self) -> int | None:
        """Exit code; None while it runs."""
        return self.process.poll()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()


class Fresh:
    """Every command in a new interpreter."""

    def start(self, order: Mapping[str, Any]) -> Running:
        """See `killable.py`."""
        with open(order["out"], "wb") as out, open(order["err"], "wb") as err:
            command = [sys.executable, str(KILLABLE), json.dumps(dict(order))]
            return Process(subprocess.Popen(command, stdout=out, stderr=err, env=_environment()))


@dataclass
class Fork:
    """A process forked by the server; its exit code comes as a line."""

    number: int
    server: subprocess.Popen[str]
    ended: int | None = None

    def code(self) -> int | None:
        """Exit code; None while it runs."""
        try:
            state = Path(f"/proc/{self.number}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):  # the server has fetched its exit code
            state = "Z"
        return self._wait() if state == "Z" or self.ended is not None else None

    def _wait(self) -> int:
        if self.ended is None:
            assert self.server.stdout is not None
            self.ended = int(self.server.stdout.readline())
        return self.ended

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.number, signal.SIGKILL)
        self._wait()


class Forks:
    """Every command in a process forked from one that has imported the libraries; Linux."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, str(KILLABLE), "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(),
        )

    def start(self, order: Mapping[str, Any]) -> Running:
        """See `killable.py`."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(dict(order)) + "\n")
        self.server.stdin.flush()
        return Fork(int(self.server.stdout.readline()), self.server)


@dataclass
class Workplace:
    """Runs commands of `erasure`; what they say goes to files in `folder`."""

    folder: Path
    starter: Starter

    def start(self, where: Path, arguments: Sequence[str], **more: Any) -> Running:  # noqa: ANN401
        """Start a command in the folder `where`; `more` as `killable.py` knows it."""
        return self.starter.start(
            {
                "arguments": list(arguments),
                "folder": str(where),
                "out": str(self.folder / "out"),
                "err": str(self.folder / "err"),
                **more,
            }
        )

    def run(self, where: Path, arguments: Sequence[str], **more: Any) -> int:  # noqa: ANN401
        """Run a command to its end; returns the exit code."""
        running = self.start(where, arguments, **more)
        while (code := running.code()) is None:
            time.sleep(0.01)
        return code

    def said(self) -> str:
        """Last line on stderr."""
        lines = (self.folder / "err").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def _environment() -> dict[str, str]:
    fixed = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
    return {"OMP_NUM_THREADS": "1", **os.environ, **fixed}
