"""The process of one job: waits for its turn, runs the commands, writes down how they ended."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from erasure.storage.files import write_json
from pipelines.process.progress import PROGRESS_FILE
from pipelines.ui.jobs import JOB, MESSAGES, OUTPUT, PROCESS, PROGRESS, RESULT, TURN, Jobs
from pipelines.ui.own_processes import note_of

_POLL: Final = 0.5
"""Seconds between two looks at the queue."""


def main(folder: Path) -> None:
    """Run the job of a folder; one job runs at a time, as they share the device."""
    stopped = []
    signal.signal(signal.SIGINT, lambda *_: stopped.append(True))
    jobs = Jobs(folder.parents[1])
    while any(job.name < folder.name and job.state in ("waiting", "running") for job in jobs.all()):
        time.sleep(_POLL)
        if (folder / RESULT).exists():
            return
    (folder / TURN).touch()
    if (folder / RESULT).exists():  # it was stopped while it waited
        return
    lines = json.loads((folder / JOB).read_text(encoding="utf-8"))["lines"]
    code = 0
    with (folder / OUTPUT).open("ab") as output, (folder / MESSAGES).open("ab") as messages:
        for number, line in enumerate(lines, 1):
            if code or stopped:
                break
            left = str(len(lines) - number)
            code = subprocess.call(
                [sys.executable, "-m", "pipelines.ui.job_command", str(folder), left, *line],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=messages,
                env={**os.environ, PROGRESS_FILE: str(folder / PROGRESS)},
            )
    state = "stopped" if stopped else "failed" if code else "done"
    write_json(folder / RESULT, {"state": state, "exit": code}, indent=None)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if pid := os.fork():
        write_json(folder / PROCESS, note_of(pid), indent=None)
        os._exit(0)  # so that who started the job neither waits for it nor has to bury it
    os.setsid()
    main(folder)
