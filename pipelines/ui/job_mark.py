"""Whose job is it: a mark that only this user on this machine can make.

A folder of runs may come from somebody else, and a job in it names a command, which may load code.
So the page begins no command again that was not begun here.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

_KEY: Final = "jobs.key"
_LENGTH: Final = 32
"""Bytes of a key."""


def mark_of(name: str, title: str, lines: Sequence[Sequence[str]], run: str) -> str:
    """The mark of a job: an HMAC-SHA256 of all that it says, by the user's own key."""
    said = json.dumps([name, title, [list(line) for line in lines], run])
    return hmac.new(_key(_place()), said.encode(), hashlib.sha256).hexdigest()


def is_marked(mark: str, name: str, title: str, lines: Sequence[Sequence[str]], run: str) -> bool:
    """Whether a mark is the one that this user's key makes of the job."""
    return mark.isascii() and hmac.compare_digest(mark, mark_of(name, title, lines, run))


def _place() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(home) / "diffusion-erasure" / _KEY


@cache
def _key(path: Path) -> bytes:
    """The key in a file that nobody else reads; made where there is none. Where it cannot be kept,
    the process has one of its own, and its jobs go on as long as its server stays."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            made = path.with_name(f"{_KEY}.{secrets.token_hex(8)}")
            with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_LENGTH))
            try:
                os.link(made, path)  # of two servers that begin together, one makes the key
            except FileExistsError:
                pass
            finally:
                made.unlink()
        key = path.read_bytes()
    except OSError:
        key = b""
    return key if len(key) == _LENGTH else secrets.token_bytes(_LENGTH)
