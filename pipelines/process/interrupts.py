"""Ctrl-C, and the order to end, that wait for a good moment."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def between_steps() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM wait for the end of a step, so that the state that is saved is whole; a
    second Ctrl-C does not wait."""
    asked = False

    def note(number: int, frame: Any) -> None:  # noqa: ANN401
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    both = (signal.SIGINT, signal.SIGTERM)
    try:
        old = [(number, signal.signal(number, note)) for number in both]
    except ValueError:  # not the main thread, which alone may set handlers
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        for number, handler in old:
            signal.signal(number, handler)
