"""Ctrl-C that waits for a good moment."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def between_steps() -> Iterator[Callable[[], bool]]:
    """Ctrl-C waits for the end of a step, so that the state that is saved is whole; a second
    Ctrl-C does not wait."""
    asked = False

    def note(number: int, frame: Any) -> None:  # noqa: ANN401
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    try:
        old = signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread, which alone may set handlers
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, old)
