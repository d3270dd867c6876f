"""Progress for a person: bars on stderr where that is a terminal, a line a stage elsewhere.

For a program that runs a command, the environment variable `ERASURE_PROGRESS` names a file to which
each stage appends lines of JSON: `stage`, `done`, `total`, `seconds`, `note`.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipelines.words.terminal import printable

PROGRESS_FILE: Final = "ERASURE_PROGRESS"
_OFTEN: Final = 0.5
"""Least seconds between two lines of a stage in that file."""


class Tick(Protocol):
    """Told of progress within a stage."""

    def __call__(self, count: int = 1, note: str = "") -> None:
        """`count` more are done; `note` replaces the text behind the bar."""
        ...


@dataclass
class Reporter:
    """Shows stages one after another and remembers how long each took."""

    quiet: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    """Stage -> wall time; a stage that comes twice adds up."""
    processor: dict[str, float] = field(default_factory=dict)
    """Stage -> seconds of a processor that this process took, which a busy machine changes less."""

    def tell(self, lines: Sequence[str]) -> None:
        """Lines on stderr, unless quiet; nothing, not even an empty line, where there are none."""
        if lines and not self.quiet:
            print(*map(printable, lines), sep="\n", file=sys.stderr)

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Tick]:
        """Show one stage of `total` parts while the block runs."""
        started, worked = time.monotonic(), time.process_time()
        console = Console(file=sys.stderr, quiet=self.quiet)
        try:
            if console.is_terminal and not self.quiet:
                with self._bar(console, name, total) as tick:
                    yield tick
            elif os.environ.get(PROGRESS_FILE):
                yield _Written(Path(os.environ[PROGRESS_FILE]), name, total)
            else:
                yield lambda count=1, note="": None
        finally:
            spent = time.monotonic() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            busy = time.process_time() - worked
            self.processor[name] = self.processor.get(name, 0.0) + busy
        if not console.is_terminal:
            # Not as markup: a concept may be called [red].
            line = f"{printable(name)}: {total} in {spent:.1f} s"
            console.print(line, highlight=False, markup=False)

    @contextmanager
    def _bar(self, console: Console, name: str, total: int) -> Iterator[Tick]:
        columns = (
            TextColumn("{task.description:<28}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=console) as progress:
            task: TaskID = progress.add_task(printable(name), total=total, note="")

            def tick(count: int = 1, note: str = "") -> None:
                progress.update(task, advance=count, note=printable(note))

            yield tick


class _Written:
    """Appends the progress of one stage to a file."""

    def __init__(self, file: Path, stage: str, total: int) -> None:
        self._file, self._stage, self._total = file, stage, total
        self._started, self._last, self._done = time.monotonic(), 0.0, 0
        self._append("")

    def __call__(self, count: int = 1, note: str = "") -> None:
        self._done += count
        if self._done >= self._total or time.monotonic() - self._last >= _OFTEN:
            self._append(note)

    def _append(self, note: str) -> None:
        self._last = time.monotonic()
        line = {
            "stage": self._stage,
            "done": self._done,
            "total": self._total,
            "seconds": round(self._last - self._started, 1),
            "note": note,
        }
        # Who follows may have removed the file's folder, which is no reason to end hours of work.
        with suppress(OSError), self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
