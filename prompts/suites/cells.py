"""What stands in a cell: text of CSV, or any value of JSON."""

import math
from typing import Final

from prompts.errors import PromptError

_EXACT: Final = 2**53
"""Up to here a float holds every whole number."""


def blank(value: object) -> bool:
    """Whether there is nothing in it."""
    return value is None or (isinstance(value, str) and not value.strip())


def text(value: object, name: str) -> str:
    """Its text without space around it; empty for a blank cell. Numbers are text too."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise PromptError(f"the {name} is {str(value)[:40]}, which is no text; put it in quotes")
    return str(value).strip()


def whole(value: object, name: str) -> int | None:
    """A whole number, also one written as `512.0`; None for a blank cell."""
    if blank(value):
        return None
    try:
        return int(text(value, name))
    except ValueError:
        number = _float(value)
    if number is None or not number.is_integer() or abs(number) > _EXACT:
        raise PromptError(f"the {name} is {_shown(value)}; give a whole number")
    return int(number)


def real(value: object, name: str) -> float | None:
    """A finite number; None for a blank cell."""
    if blank(value):
        return None
    number = _float(value)
    if number is None:
        raise PromptError(f"the {name} is {_shown(value)}; give a number")
    return number


def _float(value: object) -> float | None:
    """None where it is no finite number."""
    try:
        number = float(text(value, "number"))
    except (ValueError, PromptError):
        return None
    return number if math.isfinite(number) else None


def _shown(value: object) -> str:
    return repr(str(value)[:40])
