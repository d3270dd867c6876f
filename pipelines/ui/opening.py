"""What a browser is started with: no token, since every user of a machine sees command lines."""

import html
import os
import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PAGE: Final = """<!doctype html>
<meta charset="utf-8"><meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={address}">
<title>erasure</title>
<p><a href="{address}">Open the page</a></p>
"""


@contextmanager
def opening(address: str, folder: Path) -> Iterator[str]:
    """A file that leads to an address, for its owner alone; it goes when the page is closed.

    Browsers of Windows open no files of the Linux within it, which is one person's: they are told
    the address, as are all where no file can be written.

    Args:
        folder: where the file lies; a browser that is shut in may read the user's own folders, and
            not those of the system.
    """
    file = folder / f".open-{secrets.token_hex(8)}.html"
    try:
        within_windows = "microsoft" in platform.release().lower()
        yield address if within_windows or not _written(address, file) else file.as_uri()
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def _written(address: str, file: Path) -> bool:
    """Whether the file could be written."""
    with suppress(OSError):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(opened, "w", encoding="utf-8") as stream:
            stream.write(_PAGE.format(address=html.escape(address)))
        return True
    return False
