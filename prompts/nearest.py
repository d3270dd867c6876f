"""Name the known words nearest to one that is not known."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for an error's end: the nearest three of `known`, or all if none looks alike.

    Returns:
        `the nearest are church, horn`, `the nearest is church`, or `there are a, b, c`.
    """
    by_key = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), by_key, n=3)
    if not close:
        return _are("there", list(by_key.values()))
    return _are("the nearest", [by_key[key] for key in close])


def _are(subject: str, names: Sequence[str]) -> str:
    return f"{subject} {'is' if len(names) == 1 else 'are'} {', '.join(names) or 'none'}"
