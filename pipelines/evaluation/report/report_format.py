"""Numbers as people read them in tables: shares in percent, a true minus sign, few digits."""

import re
from math import isfinite
from typing import Final, TypeGuard

MINUS: Final = "\u2212"
"""As wide as a digit, unlike the hyphen."""
NONE: Final = "n/a"
_LONGEST: Final = 400
"""Characters of a prompt."""


def percent(share: float | None) -> str:
    """0.9833 -> `98.3 %`."""
    return NONE if not _there(share) else f"{100 * share:.1f} %"


def interval(low: float | None, high: float | None) -> str:
    """0.911, 0.997 -> `91.1 to 99.7`; of shares, in percent."""
    if not (_there(low) and _there(high)):
        return NONE
    return f"{_signed(100 * low, '.1f')} to {_signed(100 * high, '.1f')}"


def signed(share: float | None) -> str:
    """A difference of shares in points: -0.02 -> `-2.0` with a true minus, 0.02 -> `+2.0`."""
    if not _there(share):
        return NONE
    text = _signed(100 * share, "+.1f")
    return "0.0" if text[1:] == "0.0" else text


def number(value: float | None) -> str:
    """Four significant digits; whole numbers in full, with thousands apart."""
    if not _there(value):
        return NONE
    if float(value).is_integer() and abs(value) < 1e15:
        return _signed(value, ",.0f")
    return _signed(value, ".4g")


def measure(value: float | None, unit: str) -> str:
    """A share in percent; a count or another value as a number."""
    return percent(value) if unit == "share" else number(value)


def shortened(prompt: str) -> str:
    """The prompt, or so much of it as a page has room for."""
    return prompt if len(prompt) <= _LONGEST else f"{prompt[: _LONGEST - 1]}…"


def split_verdict(verdict: str) -> tuple[str, str]:
    """A heading of at most some 110 letters and what follows it; all of it where it is short.

    `church is still recognised in 9 of 9 pictures of plain prompts; not attacked: ...` is cut after
    `attacked`.
    """
    match = re.match(r"(.{1,110}?)[:;.](?! not attacked)\s+(\S.*)", verdict, re.DOTALL)
    return (match[1], match[2]) if match else (verdict, "")


def _there(value: float | None) -> TypeGuard[float]:
    return value is not None and isfinite(value)


def _signed(value: float, form: str) -> str:
    return format(value, form).replace("-", MINUS)
