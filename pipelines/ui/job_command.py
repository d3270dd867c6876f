"""The process of one command of a job: it notes who runs it, and how it ended.

The process of the job waits for it and may be killed before it. The page then knows by this note
that the command runs on, and what became of it.
"""

import os
import runpy
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from erasure.errors import DiskError
from erasure.storage.files import write_json
from pipelines.ui.jobs import COMMAND
from pipelines.ui.own_processes import note_of

_CLI: Final = "pipelines.cli"


def main(folder: Path, left: int) -> None:
    """Run the command line as it would run by itself, with what stands in `sys.argv`.

    Args:
        folder: of the job.
        left: how many commands of the job come after this one.

    Raises:
        SystemExit: the command has ended.
    """
    _note(folder, left, None)
    code = 1
    try:
        runpy.run_module(_CLI, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        _note(folder, left, code)


def _note(folder: Path, left: int, code: int | None) -> None:
    """Write down the process and its exit code; on a full disk the command runs all the same."""
    note = {**note_of(os.getpid()), "left": left, "exit": code}
    with suppress(DiskError):
        write_json(folder / COMMAND, note, indent=None)


if __name__ == "__main__":
    folder, left = Path(sys.argv[1]), int(sys.argv[2])
    del sys.argv[1:3]
    main(folder, left)
