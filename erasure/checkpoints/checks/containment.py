"""Links in a model's folder: they may lead to a place in it, or into the hub cache it is part of.

A folder from elsewhere could hold a link to any file of this machine, and an export would copy that
file's content into what is published. Only what came with this package is trusted: some installers
make links of all its files.

Source: the hub's cache keeps `blobs/HASH` beside `snapshots/REVISION`, whose files are links.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from erasure.errors import CheckpointError
from erasure.storage.bare_names import is_bare, shown
from erasure.storage.links import resolved
from erasure.storage.regular_files import require_regular

_NOTE: Final = ":Zone.Identifier"
_HASH: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
"""SHA-1 of git, or SHA-256 of a large file."""


def inside(path: Path, root: Path) -> Path:
    """`path`, which may be missing; nothing of it was read before.

    Args:
        path: of a file or folder below `root`.
        root: the model's folder.

    Raises:
        CheckpointError: it leads out of the folder, in a circle, or to what is no regular file.
    """
    try:
        there, home = resolved(path), resolved(root)
    except (OSError, ValueError) as err:
        raise CheckpointError(f"{path} cannot be followed to a file: {err}") from err
    allowed = there.is_relative_to(home) or _is_blob(there, home) or is_installed(path)
    if not allowed:
        raise CheckpointError(
            f"{path} is a link out of the model's folder, to {there}; copy the file in its place "
            "if it belongs to the model, or take the link out"
        )
    return require_regular(path)


def entries_of(listing: Callable[[], Iterable[Path]], root: Path) -> Iterator[Path]:
    """The files and folders that a listing found below `root`, each one `inside`.

    Notes of Windows are left out, `NAME:Zone.Identifier`, which its Linux writes beside what is
    copied from there.

    Raises:
        CheckpointError: as `inside`, or an entry may not be read, or has a name that no copy of the
            model can have.
    """
    try:
        entries = sorted(listing())
    except OSError as err:
        raise _unreadable(Path(err.filename or root)) from err
    for path in entries:
        if path.name.endswith(_NOTE):
            continue
        if not is_bare(path.name):
            raise CheckpointError(
                f"{path.parent} holds {shown(path.name)}, a name that no copy of the model can "
                "have on every system; rename it, or take it out"
            )
        inside(path, root)
        wanted = os.R_OK | (os.X_OK if path.is_dir() else 0)
        if path.exists() and not os.access(path, wanted):
            raise _unreadable(path)
        yield path


def _unreadable(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} may not be read, and a copy of the model would lack it; give yourself the "
        "permission, or take it out"
    )


def is_installed(path: Path) -> bool:
    """Whether a file is one that the installer of this package noted as put there by it."""
    return path.absolute() in _installed()


@cache
def _installed() -> frozenset[Path]:
    """All files of the installed distribution; none where it is used from its source."""
    try:
        package = distribution("diffusion-erasure")
    except PackageNotFoundError:
        return frozenset()
    return frozenset(
        Path(str(package.locate_file(file))).absolute() for file in package.files or ()
    )


def _is_blob(there: Path, home: Path) -> bool:
    """Whether a place is a blob of the cache that holds the snapshot in which `home` lies."""
    snapshots = (folder for folder in home.parents if folder.name == "snapshots")
    caches = [folder.parent / "blobs" for folder in snapshots]
    return there.parent in caches and _HASH.fullmatch(there.name) is not None
