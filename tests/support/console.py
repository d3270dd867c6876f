"""The command line as a test calls it: in this process, or as one of its own."""

import os
import signal
import subprocess
import sys
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import pytest
import typer.main
from matplotlib.figure import Figure
from PIL import Image

from erasure.storage.files import atomic
from pipelines.cli import main
from pipelines.drawing import plots

ROOT = Path(__file__).parents[2]
QUICK = """
save_every = 1

[saliency]
draws = 1

[method]
batch_size = 2
warmup = 0

[data.forget]
drawn = 2

[data.retain]
drawn = 2

[data.drawing]
steps = 2

[grid]
prompts = ["a church", "a dog"]
seeds = "0"

[grid.drawing]
steps = 2
"""
"""As little of everything as a run can have."""
PATIENCE = 300.0
"""Seconds that a test waits for another process, on a machine that is busy too."""


_built = cache(typer.main.get_command)
"""An app's commands are the same each time, and to build them takes longer than most refusals."""


@dataclass(frozen=True)
class Said:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str


def _blank(_: Figure, path: Path) -> None:
    with atomic(path) as part:
        Image.new("L", (1, 1)).save(part, format="png")


def erasure(*arguments: object, charts: bool = False) -> Said:
    """Run one command line in this process, through the console script's own function.

    Without `charts` each chart is built and left blank: to draw two takes a quarter of a tiny run.
    """
    out, err = StringIO(), StringIO()
    line = patch.object(sys, "argv", ["erasure", *map(str, arguments)])
    with line, patch.object(typer.main, "get_command", _built):
        charting = nullcontext() if charts else patch.object(plots, "_save", _blank)
        with charting, redirect_stdout(out), redirect_stderr(err):
            try:
                main()
                code = 0
            except SystemExit as left:
                code = left.code if isinstance(left.code, int) else int(left.code is not None)
    return Said(code, out.getvalue(), err.getvalue())


def command(*arguments: object, seconds: float = PATIENCE, **environment: object) -> Said:
    """Run Python with these arguments, in a process of its own.

    Fails where it does not end in time, and ends it then with all that it has started: a launcher
    whose process hangs would wait for ever.
    """
    line = [sys.executable, *map(str, arguments)]
    more = {name: str(value) for name, value in environment.items()}
    process = subprocess.Popen(
        line,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | more,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"{line} did not end in {seconds} s; it said:\n{out}\n{err}")
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Said(process.returncode, out, err)


def quick_recipe(folder: Path, **more: object) -> Path:
    """A recipe file of a run of seconds; `more` are keys before its tables."""
    lines = [f"{key} = {value!r}" for key, value in more.items()]
    path = folder / "quick.toml"
    path.write_text("\n".join(lines) + QUICK, encoding="utf-8")
    return path
