"""Processes of their own that need no seconds of imports: forks of a server that made them once.

They are real processes: they have their own memory and standard streams, can be killed, and meet
each other by gloo. What a launcher adds, or an interpreter that starts from nothing, they do not
show; `console.command` starts one of those.
"""

import io
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from support.console import PATIENCE, ROOT, Said

_IMPORTED = [
    "hypothesis",
    "pytest",
    "support.tiny",
    "pipelines.run.erasing",
    "pipelines.evaluation.run",
]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([*_IMPORTED, "prompts.suites.suites"])


def forked(
    target: Callable[..., object], *arguments: object, count: int = 1, **environment: object
) -> Said:
    """Call a function of an importable module in `count` processes of one thread each.

    Several are told of each other as by torchrun. Where one of them fails, the others are ended,
    and the code is that of the one that failed. So are all that do not end in time.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = {"FORKED_OUT": f"{folder}/out", "FORKED_ERR": f"{folder}/err"}
        if count > 1:
            environment |= {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
        team = []
        for rank in range(count):
            place = {"RANK": rank, "LOCAL_RANK": rank} if count > 1 else {}
            team.append(_start(target, arguments, {**environment, **place, **streams}))
        code = _ended(team)
        out, err = (Path(path).read_text(encoding="utf-8") for path in streams.values())
    return Said(code, out, err)


def run_line(*arguments: object) -> None:
    """What a process of its own is to call for a command line."""
    from pipelines.cli import main

    sys.argv = ["erasure", *map(str, arguments)]
    main()


def run_and_die(name: str, left: int, *arguments: object) -> None:
    """The same, until the `left`th file of that ending is about to be put in place: `kill -9`."""
    put = os.replace

    def put_or_die(source: str, target: str) -> None:
        nonlocal left
        left -= str(target).endswith(name)
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        put(source, target)

    os.replace = put_or_die  # type: ignore[assignment]
    run_line(*arguments)


def _start(
    target: Callable[..., object], arguments: tuple[object, ...], environment: dict[str, object]
) -> BaseProcess:
    variables = {name: str(value) for name, value in environment.items()}
    process = _CONTEXT.Process(target=_begin, args=(variables, target, arguments), daemon=True)
    with pytest.MonkeyPatch.context() as patch:  # for the server, which the first call starts
        patch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(ROOT / "tests"))))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        process.start()
    return process


def _begin(
    environment: dict[str, str], target: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    os.environ.update(environment)
    for number, name in ((1, "FORKED_OUT"), (2, "FORKED_ERR")):
        os.dup2(os.open(environment[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    # A line is written at once, so that those of several processes do not run together.
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True, write_through=False)
    target(*arguments)


def _ended(team: list[BaseProcess]) -> int:
    """Wait for all of them, and end all once one has failed, or the time is over."""
    code, end = 0, time.monotonic() + PATIENCE
    while alive := [process for process in team if process.is_alive()]:
        left = end - time.monotonic()
        if left <= 0:
            for process in alive:
                process.kill()
            pytest.fail(f"{len(alive)} of {len(team)} processes did not end in {PATIENCE} s")
        wait([process.sentinel for process in alive], timeout=left)
        failed = [process.exitcode for process in team if process.exitcode]
        if failed and not code:
            code = failed[0]
            for process in team:
                process.kill()
    for process in team:
        process.join()
        code = code or process.exitcode or 0
        process.close()
    return code


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
