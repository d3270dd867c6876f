"""Follow links to their end, alike in every version of Python."""

import errno
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
