"""Small files of a run, which may be damaged: what can be read of them."""

import json
import math
from pathlib import Path
from typing import Any, Final

_LARGEST: Final = 20_000_000
"""Bytes of a JSON file that is read."""


def object_of(file: Path) -> dict[str, Any]:
    """The object in a file; empty where there is none or it is damaged."""
    try:
        if not is_own(file) or file.stat().st_size > _LARGEST:
            return {}
        text = file.read_text(encoding="utf-8")
        content = json.loads(text, parse_float=_finite, parse_constant=lambda _: None)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def is_own(file: Path) -> bool:
    """Whether it lies here: a pipe would wait for ever, and a link may lead out of the runs."""
    return file.is_file() and not file.is_symlink()


def _finite(text: str) -> float | None:
    """The number; None for 1e999, which is none that the page can read."""
    value = float(text)
    return value if math.isfinite(value) else None
