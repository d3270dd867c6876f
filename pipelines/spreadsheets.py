"""Cells of tables that people open in a spreadsheet: none of them may be run as a formula."""

from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
"""What a spreadsheet takes for the start of a formula, the full-width forms too."""


def safe_cell(value: object) -> object:
    """Text that a spreadsheet would run as a formula gets an apostrophe before it; numbers stay.

    Source: OWASP, CSV injection.
    """
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
