"""Models that several tests make alike are written once in a process, and copied."""

import atexit
import shutil
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from tempfile import mkdtemp
from typing import Any


@cache
def _place() -> Path:
    folder = Path(mkdtemp(prefix="erasure-tests-models-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def written_once(write: Callable[..., Path]) -> Callable[..., Path]:
    """Make a writer of models copy what it wrote before by the same settings.

    Args:
        write: writes a model into a folder that does not exist yet, by settings that can be hashed;
            with others it writes each time.
    """
    written: dict[Any, Path] = {}

    @wraps(write)
    def copied(folder: Path, *more: Any, **named: Any) -> Path:  # noqa: ANN401
        key = (more, tuple(sorted(named.items())))
        try:
            made = written.get(key)
        except TypeError:
            return write(folder, *more, **named)
        if made is None:
            made = written[key] = write(Path(mkdtemp(dir=_place())) / "model", *more, **named)
        shutil.copytree(made, folder)
        return folder

    return copied
