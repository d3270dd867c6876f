"""Run one command line of `erasure` and note each file operation; stop at one to be killed there.

    python benchmarks/faults/killable.py '{"arguments": [...], "folder": ..., "log": ...,
        "stop_at": 3}'
    python benchmarks/faults/killable.py --serve      # such objects, a line each, from stdin

Python tells an audit hook of every file it is about to open, rename or remove. Each of those in
`folder` adds a line with the time to `log`; at number `stop_at` the program waits, so that whoever
started it can kill it between two writes. `--serve` imports the libraries once and runs every
command in a forked process: the same commands, without seven seconds of imports before each.
With `branches` and `every` in the place of `log` and `stop_at` a full disk is tried at each write;
see `filling.py`.
"""

import importlib
import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

from filling import Branches, filling

ROOT = Path(__file__).resolve().parents[2]
NOTED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.copyfile"}
PRELOADED = (
    "pipelines.run.erasing",
    "pipelines.run.comparing",
    "pipelines.evaluation.run",
    "pipelines.jobs.export_job",
)
"""Modules that import what takes the commands seconds."""
FOREVER = 3600.0
"""Seconds."""


def watch(folder: str, log: str, stop_at: int) -> None:
    """Note the file operations in `folder` from now on; wait at number `stop_at`, from 1."""
    inside = os.path.realpath(folder) + os.sep
    notes = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    count = 0

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in NOTED or not isinstance(arguments[0], (str, bytes, os.PathLike)):
            return
        path = os.path.join(os.getcwd(), os.fsdecode(arguments[0]))
        if not path.startswith(inside):
            return
        count += 1
        os.write(notes, f"{time.monotonic()} {event} {path[len(inside) :]}\n".encode())
        if count == stop_at:
            time.sleep(FOREVER)

    sys.addaudithook(note)


def run(order: dict[str, Any]) -> None:
    """Become the command."""
    os.chdir(order["folder"])
    sys.argv = ["erasure", *order["arguments"]]
    if "stop_at" in order:
        watch(order["folder"], order["log"], order["stop_at"])
    if "branches" not in order:
        runpy.run_module("pipelines.cli", run_name="__main__", alter_sys=True)
        return
    folder = Path(os.path.realpath(order["folder"]))
    with filling(folder, Branches(folder, Path(order["branches"]), order["every"])) as disk:
        try:
            runpy.run_module("pipelines.cli", run_name="__main__", alter_sys=True)
        except SystemExit as left:
            if disk.full:  # a copy needs no tidy end, which takes long
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(left.code if isinstance(left.code, int) else 0)
            raise


def preload() -> None:
    """Import what takes the commands seconds."""
    import matplotlib.figure  # noqa: F401
    from diffusers import (  # noqa: F401
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401

    for name in PRELOADED:
        importlib.import_module(name)


def serve() -> None:
    """Fork a process a line; say its id, and when it is over its exit code."""
    preload()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            for stream, name in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
                flags = os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                os.dup2(os.open(name, flags), stream)
            run(order)
            os._exit(0)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1] == "--serve":
        serve()
    else:
        run(json.loads(sys.argv[1]))
