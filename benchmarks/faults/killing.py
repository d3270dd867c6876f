"""Run a command and kill it at a moment: at a file operation, or some time after one."""

import itertools
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from command_processes import Running, Workplace


@dataclass(frozen=True)
class Moment:
    """When to kill: at file operation `at`, or a share of the time to the next one after it."""

    at: int
    share: float | None


@dataclass
class Killing:
    """Runs commands and kills them."""

    place: Workplace
    where: Path
    """Folder of the command."""
    keep: Path | None = None
    """Where to copy what is wrong."""
    log: Path = field(init=False)
    """One line a file operation, its time first."""

    def __post_init__(self) -> None:
        self.log = self.place.folder / "log"

    def run(self, arguments: tuple[str, ...], moment: Moment | None, gaps: list[float]) -> int:
        """Run a command, or kill it; returns the exit code, negative for a signal."""
        stop_at = moment.at if moment is not None and moment.share is None else -1
        running = self.start(arguments, stop_at)
        while (code := running.code()) is None:
            if moment is not None and self.operations() >= moment.at:
                if moment.share is not None:
                    time.sleep(moment.share * gaps[min(moment.at, len(gaps)) - 1])
                if running.code() is None:
                    running.kill()
                    return -signal.SIGKILL
            time.sleep(0.002)
        return code

    def start(self, arguments: tuple[str, ...], stop_at: int = -1) -> Running:
        """Start a command, which waits to be killed at file operation `stop_at`."""
        self.log.write_bytes(b"")
        return self.place.start(self.where, arguments, log=str(self.log), stop_at=stop_at)

    def operations(self) -> int:
        """How many file operations it has begun."""
        return self.log.read_bytes().count(b"\n")

    def gaps(self) -> list[float]:
        """Seconds from each noted operation of the last run to the next."""
        times = [float(line.split()[0]) for line in self.log.read_text().splitlines()]
        return [after - before for before, after in itertools.pairwise(times)] or [0.0]
