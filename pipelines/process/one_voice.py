"""One sentence from a run of several processes, whichever of them has to end it."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

_SPOKEN: Final = "erasure/spoken"


def is_first() -> bool:
    """Whether this process speaks where all goes well; known before any work begins."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def one_voice() -> Iterator[None]:
    """Let one of several processes say why the run ends, and the others leave without a word.

    It is the one that fails first, as the others only follow. Also makes the launcher's order to
    end, which it gives when one process has died, an interruption as Ctrl-C is.

    Raises:
        SystemExit: in the other processes.
        TrainingError: the launcher ended the run.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    # Late, as they bring torch with them.
    from erasure.errors import ErasureError, TrainingError
    from erasure.memory import is_out_of_memory
    from eval.errors import EvalError
    from prompts.errors import PromptError

    if not is_first():
        logging.disable(logging.WARNING)
    ended = False

    def end(number: int, frame: Any) -> None:  # noqa: ANN401
        nonlocal ended
        ended = True
        raise KeyboardInterrupt

    errors = (ErasureError, EvalError, PromptError, OSError, MemoryError)
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except (KeyboardInterrupt, RuntimeError, *errors) as err:
        if isinstance(err, RuntimeError) and not is_out_of_memory(err):
            raise
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the sentence is finished
        if not _speaks_first():
            raise SystemExit(1) from err
        if ended:
            raise TrainingError(
                "the launcher ended this run, as it does when one process has died; what was "
                "finished is kept: give the same command again, `erase` with --resume, on as many "
                "processes as you like"
            ) from err
        raise


def _speaks_first() -> bool:
    """Whether no process of this run has asked before, as far as the launcher's store knows."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    try:
        store = TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            timeout=timedelta(seconds=5),
            wait_for_workers=False,
        )
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        asked: int = store.add(f"{_SPOKEN}/{attempt}", 1)
    except (KeyError, ValueError, RuntimeError):  # there is none, or it went with another process
        return is_first()
    return asked == 1
