"""A folder that is there whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from erasure.storage.links import resolved
from erasure.storage.parts import aside_of, left_aside, part_of, remove_leftovers


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill; it takes the place of `path` only if the block succeeds.

    Where `path` is a link, what it leads to is replaced, and the link stays. What is replaced has a
    name of this writer's own for a moment. Where a killed process left that, it goes back to its
    place, or away if the new folder is in it.
    """
    path = resolved(path) if path.is_symlink() else path
    part, old = part_of(path), aside_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in left_aside(path):
        if path.exists():
            shutil.rmtree(left, ignore_errors=True)
        else:
            os.replace(left, path)
    remove_leftovers(path.parent)
    part.mkdir()
    try:
        yield part
        if path.exists():
            os.replace(path, old)
        os.replace(part, path)
    except BaseException:
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
