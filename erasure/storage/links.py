"""Links: followed to their end, alike in every version of Python, or taken for what they are."""

import errno
import shutil
from pathlib import Path


def resolved(path: Path) -> Path:
    """Where a path leads, absolute and without links; what is missing keeps its name.

    `Path.resolve` of Python 3.13 gives links in a circle back as if they led somewhere.

    Raises:
        OSError: links lead in a circle (`ELOOP`).
        ValueError: the path holds the character of number 0.
    """
    try:
        return path.resolve(strict=True)
    except RuntimeError as err:  # up to Python 3.12
        raise OSError(errno.ELOOP, "links lead in a circle", str(path)) from err
    except OSError as err:
        if err.errno == errno.ELOOP:
            raise
        return path.resolve()


def followed(path: Path) -> Path:
    """What is written where somebody names a link: the end that it leads to, so that the link
    stays, as it does for a folder that is there. Any other path stays as it was named; so do links
    in a circle, names that are too long and folders that may not be entered, which whoever writes
    there refuses.
    """
    try:
        to_nowhere = any(folder.is_symlink() and not folder.exists() for folder in path.parents)
        return resolved(path) if path.is_symlink() or to_nowhere else path
    except (OSError, ValueError):
        return path


def remove_folder(path: Path) -> None:
    """Remove a folder if it is there; of a link to one the link, and nothing that it leads to.

    Raises:
        OSError: the disk refuses.
    """
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
