"""Small files of runs and jobs, which may be damaged: what can be read of them."""

import json
import math
from pathlib import Path
from typing import Any, Final

_LARGEST: Final = 20_000_000
"""Bytes of a JSON file that is read."""


def object_of(file: Path) -> dict[str, Any]:
    """The object in a file; empty where there is none or it is damaged."""
    return object_or_none(file) or {}


def object_or_none(file: Path) -> dict[str, Any] | None:
    """The object in a file; None where there is none or it is damaged."""
    try:
        if not is_own(file) or file.stat().st_size > _LARGEST:
            return None
        content = value_of(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def value_of(text: str) -> Any:  # noqa: ANN401
    """The value of a JSON text that the page can read: numbers that JSON does not have are null.

    Raises:
        ValueError: it is no JSON, or is nested too deep.
    """
    try:
        return json.loads(text, parse_float=_finite, parse_constant=lambda _: None)
    except RecursionError as err:
        raise ValueError("it is nested too deep") from err


def is_own(file: Path) -> bool:
    """Whether it lies here: a pipe would wait for ever, and a link may lead out of the runs."""
    return file.is_file() and not file.is_symlink()


def changed(file: Path) -> int:
    """When it was written, in nanoseconds; 0 where it went meanwhile."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _finite(text: str) -> float | None:
    """The number; None for 1e999, which is none that the page can read."""
    value = float(text)
    return value if math.isfinite(value) else None
