"""Times in words: what was measured, and what is estimated."""

from typing import Final

_BUSY: Final = 0.7
"""The share of its processors up to which a run is said to be slowed by other work."""


def to_the_second(seconds: float) -> str:
    """Write a time that was measured: `0.8 s`, `42 s`, `12 min 5 s`, `3 h 20 min`."""
    whole = round(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def about(seconds: float) -> str:
    """Write an estimate, no finer than it is good for: `40 s`, `12 min`, `3.5 h` or `12 days`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def about_here(seconds: float, share: float) -> str:
    """Write an estimate, and how long it becomes where other work is in the way.

    Args:
        seconds: on a machine that does nothing else.
        share: of the processors, what other work leaves now, in (0, 1].
    """
    if share > _BUSY:
        return f"about {about(seconds)}"
    return (
        f"about {about(seconds)}, or {about(seconds / share)} while this machine is as busy as now"
    )
