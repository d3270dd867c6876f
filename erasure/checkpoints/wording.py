"""Name a few of many in an error message."""

from collections.abc import Iterable


def few(names: Iterable[str]) -> str:
    """The first three, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"
