"""Jobs of the page: commands in processes of their own, which outlive the page and its server.

A job is a folder of the runs' hidden folder `.jobs`: what it runs, what came of it, what it said.
Nothing else knows of jobs, so a server that is started again sees them all.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeGuard

from erasure.errors import ConfigError
from erasure.storage.bare_names import is_bare
from erasure.storage.disk import disk_errors
from erasure.storage.files import write_json
from pipelines.ui.job_mark import is_marked, mark_of
from pipelines.ui.own_processes import number_in, runs
from pipelines.ui.run_files import is_own, object_or_none, value_of
from pipelines.words.unsafe import is_unsafe

FOLDER: Final = ".jobs"
JOB: Final = "job.json"
PROCESS: Final = "process.json"
"""Who runs it: written before its start is answered."""
TURN: Final = "turn"
"""An empty file that its process makes when it no longer waits for older jobs."""
COMMAND: Final = "command.json"
"""The command that runs, by its process, and how it ended: it outlives the process of the job."""
ASKED: Final = "asked"
"""An empty file: somebody has asked the job to end while it ran."""
RESULT: Final = "result.json"
PROGRESS: Final = "progress.jsonl"
OUTPUT: Final = "output.txt"
"""What its commands wrote to stdout."""
MESSAGES: Final = "messages.txt"
"""What they wrote to stderr."""
State = Literal["waiting", "running", "done", "failed", "stopped", "lost"]
_TAIL: Final = 4000
"""Bytes of what it said that the page shows."""
_START: Final = 60
"""Seconds in which a job that was written down must have its process."""
_writing: Final = threading.Lock()
"""Requests are answered side by side; of two that would make one run, one is written down."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job, as its folder has it."""

    folder: Path
    title: str
    lines: tuple[tuple[str, ...], ...]
    """The commands, one after another, as words behind `erasure`."""
    run: str
    """Name of the run that it makes or looks at."""
    mark: str = ""
    """By which it is known for one that this user began on this machine."""

    @property
    def name(self) -> str:
        """Its name in addresses; sorts by time."""
        return self.folder.name

    @property
    def state(self) -> State:
        """What has become of it; `lost` where its process ended without a word."""
        result = object_or_none(self.folder / RESULT)
        if result is not None:
            ended = result.get("state")
            return ended if ended in ("done", "failed", "stopped") else "lost"
        process = object_or_none(self.folder / PROCESS)
        if process is None:  # nobody else would ever end what lost its process so early
            return "waiting" if time.time() - _begun(self.folder) < _START else "lost"
        if not runs(process):  # it may have ended well between the two looks
            return self.state if (self.folder / RESULT).exists() else self._state_alone
        return "running" if (self.folder / TURN).exists() else "waiting"

    @property
    def _state_alone(self) -> State:
        """What has become of a job whose own process was killed: its command does not end with it.
        Commands that were to come after that one never begin."""
        command = object_or_none(self.folder / COMMAND)
        if command is not None and command.get("exit") is None:
            if runs(command):
                return "running"
            command = object_or_none(self.folder / COMMAND)  # it may have ended meanwhile
        code = None if command is None else command.get("exit")
        if command is None or type(code) is not int:
            return "lost"
        if code:
            return "stopped" if (self.folder / ASKED).exists() else "failed"
        return "done" if command.get("left") == 0 else "lost"

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state not in ("waiting", "running")

    @property
    def erases(self) -> bool:
        """Whether it makes its run, and does not only look at it."""
        return self.lines[0][0] == "erase"

    @property
    def _run(self) -> Path:
        return self.folder.parents[1] / self.run

    @property
    def was_cut(self) -> bool:
        """Whether it was cut, and its run was not finished since by another job or by hand."""
        from pipelines.run.run_folder import RECORD  # with torch, as below

        cut = self.erases and self.state in ("stopped", "failed", "lost")
        return cut and not (self._run / RECORD).is_file()

    @property
    def begun_here(self) -> bool:
        """Whether this user began it on this machine, and it says what it said then."""
        return is_marked(self.mark, self.name, self.title, self.lines, self.run)

    def facts(self) -> dict[str, Any]:
        """All that the page shows of it."""
        # It brings torch, a quarter of a gigabyte, which a job that waits need not hold.
        from pipelines.run.run_folder import LOOK

        ended = object_or_none(self.folder / RESULT) or object_or_none(self.folder / COMMAND) or {}
        cut = self.was_cut
        return {
            "name": self.name,
            "title": self.title,
            "run": self.run,
            "state": self.state,
            "lines": [["erasure", *line] for line in self.lines],
            "progress": _last_progress(self.folder / PROGRESS),
            "messages": _tail(self.folder / MESSAGES),
            "output": _tail(self.folder / OUTPUT),
            "exit": ended.get("exit"),
            "unsafe": is_unsafe(word for line in self.lines for word in line),
            "looks": [file.name for file in sorted(self._run.glob(f"{LOOK}*.png"))],
            "can_resume": cut and self.begun_here,
            "from_elsewhere": cut and not self.begun_here,
        }


@dataclass(frozen=True, slots=True)
class Jobs:
    """All jobs of a folder of runs."""

    runs: Path

    def start(self, title: str, lines: Sequence[Sequence[str]], run: str) -> Job:
        """Write a job down and start its process, which waits until the older ones have ended.

        Raises:
            DiskError: the job cannot be written down.
            ConfigError: another job is to make the same run, or the system starts no process.
        """
        with _writing:  # so that no job begins before an older one can be seen
            name = f"{time.time_ns():020}-{secrets.token_hex(3)}"  # sorts by the time of its start
            folder = self.runs / FOLDER / name
            mark = mark_of(name, title, lines, run)
            job = Job(folder, title, tuple(tuple(line) for line in lines), run, mark)
            if job.erases:
                self._require_unmade(run)
            with disk_errors(folder):
                folder.mkdir(parents=True)
            about = {"title": title, "lines": job.lines, "run": run, "mark": mark}
            write_json(folder / JOB, about, indent=None)
        begun = subprocess.run(  # it leaves at once a process that is no child of this one
            [sys.executable, "-m", "pipelines.ui.job_process", str(folder.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if begun.returncode:
            raise ConfigError(
                f"the process of the job {title!r} did not start (exit {begun.returncode}); see "
                "to it that the disk and the memory are not full, and start it again"
            )
        return job

    def _require_unmade(self, run: str) -> None:
        """Raise ConfigError where a job that has not ended makes the run; it may have no folder."""
        if any(job.erases and job.run == run and not job.has_ended for job in self.all()):
            raise ConfigError(
                f"a job that waits or runs already makes the run {run!r}; wait for it or stop it, "
                "or choose another name"
            )

    def all(self) -> Iterator[Job]:
        """Every job, the oldest first."""
        folder = self.runs / FOLDER
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            about = object_or_none(entry / JOB) or {}
            lines, title, run, mark = map(about.get, ("lines", "title", "run", "mark"))
            if _is_commands(lines) and isinstance(title, str) and is_bare(run):
                yield Job(entry, title, tuple(tuple(line) for line in lines), str(run), str(mark))

    def lines(self) -> Iterator[tuple[str, ...]]:
        """Every command that has written what it was to, or may yet: the one by which a job failed
        has written nothing, such as where somebody else's file was in its way."""
        for job in self.all():
            yield from job.lines[:-1] if job.state == "failed" else job.lines

    def named(self, name: str) -> Job:
        """One job.

        Raises:
            ConfigError: there is none of that name.
        """
        for job in self.all():
            if job.name == name:
                return job
        raise ConfigError(f"there is no job {name[:80]!r}; reload the page")

    def stop(self, name: str) -> None:
        """Ask a job to end: its command saves what is finished, as at Ctrl-C.

        Raises:
            ConfigError: there is no such job, or it has ended.
            DiskError: the disk refuses.
        """
        job = self.named(name)
        state, process = job.state, object_or_none(job.folder / PROCESS)
        if state == "waiting":
            write_json(job.folder / RESULT, {"state": "stopped", "exit": None}, indent=None)
            if not (job.folder / TURN).exists():
                return  # its process looks for the result once its turn has come
        elif state != "running":
            raise ConfigError(f"the job {job.title!r} has ended; nothing was stopped")
        with disk_errors(job.folder):
            (job.folder / ASKED).touch()
        group = number_in(process or {})
        if group is not None:  # it is its command's too, also where it was killed itself
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGINT)

    def resume(self, name: str) -> Job:
        """Start an erasure that was cut again, where it stood.

        Raises:
            ConfigError: there is no such job, or it cannot be resumed.
        """
        job = self.named(name)
        if not job.was_cut:  # by now; the page may be a second behind
            raise ConfigError(f"the job {job.title!r} is not one that can go on")
        if not job.begun_here:
            raise ConfigError(
                f"the job {job.title!r} was not begun here by you, and a command can load code; "
                "read it, and resume it in a terminal if you trust it"
            )
        begun = (self.runs / job.run / "recipe.toml").is_file()
        line = [*job.lines[0], *(["--resume"] if begun and "--resume" not in job.lines[0] else [])]
        return self.start(job.title, [line], job.run)


def _begun(folder: Path) -> float:
    """When a job was written down, which the name of its folder begins with."""
    nanoseconds = folder.name.partition("-")[0]
    return int(nanoseconds) / 1e9 if re.fullmatch("[0-9]{20}", nanoseconds) else 0.0


def _is_commands(lines: object) -> TypeGuard[list[list[str]]]:
    """Whether this is a list of commands, none of them empty."""
    return (
        isinstance(lines, list)
        and bool(lines)
        and all(isinstance(line, list) and line for line in lines)
        and all(isinstance(word, str) for line in lines for word in line)
    )


def _last_progress(file: Path) -> dict[str, Any] | None:
    lines = _tail(file).splitlines()
    for line in reversed(lines):
        with suppress(ValueError):
            value = value_of(line)
            if isinstance(value, dict):
                return value
    return None


def _tail(file: Path) -> str:
    try:
        if not is_own(file):
            return ""
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - _TAIL))
            return stream.read(_TAIL).decode("utf-8", "replace")
    except OSError:
        return ""
