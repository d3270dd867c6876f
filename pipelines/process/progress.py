"""Progress for a person: bars on stderr where that is a terminal, a line a stage elsewhere."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

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

    def tell(self, lines: Sequence[str]) -> None:
        """Lines on stderr, unless quiet."""
        if not self.quiet:
            print(*lines, sep="\n", file=sys.stderr)

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Tick]:
        """Show one stage of `total` parts while the block runs."""
        started = time.monotonic()
        console = Console(file=sys.stderr, quiet=self.quiet)
        try:
            if console.is_terminal and not self.quiet:
                with self._bar(console, name, total) as tick:
                    yield tick
            else:
                yield lambda count=1, note="": None
        finally:
            spent = time.monotonic() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
        if not console.is_terminal:
            console.print(f"{name}: {total} in {spent:.1f} s", highlight=False)

    @contextmanager
    def _bar(self, console: Console, name: str, total: int) -> Iterator[Tick]:
        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console) as progress:
            task: TaskID = progress.add_task(name, total=total, note="")

            def tick(count: int = 1, note: str = "") -> None:
                progress.update(task, advance=count, note=note)

            yield tick
