"""Values inside a file of JSON that another program may have written: each is looked at first."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from erasure.storage.json_text import parsed


def object_of(path: Path) -> dict[str, Any] | None:
    """The object in a file; None where there is no such file, or half of one."""
    try:
        values = parsed(path.read_bytes())
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def finite_number(value: object) -> float | None:
    """A number of a file; None for anything else, and where it is not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if isfinite(value) else None
    except OverflowError:  # a whole number that no float can hold
        return None


def object_in(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object inside an object of a file; empty where it is none."""
    inner = values.get(key)
    return inner if isinstance(inner, Mapping) else {}


def objects_in(values: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The objects of a list inside an object of a file."""
    listed = values.get(key)
    return [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
