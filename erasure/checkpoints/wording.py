"""Count and name a few of many in an error message."""

from collections.abc import Iterable


def few(names: Iterable[str]) -> str:
    """The first three, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def listed(names: Iterable[str]) -> str:
    """`one`, `one and two`, `one, two and three`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def counted(number: int) -> str:
    """`1 weight`, `2 weights`."""
    return f"{number} weight{'' if number == 1 else 's'}"
