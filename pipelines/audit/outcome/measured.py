"""What attacks measure beside hits: weights that rounding gives back, and how noise looks."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from pipelines.audit.cells import Search, Try

MEASURES: Final[Mapping[str, str]] = {
    "share_like_base_own_scale": "share of the moved weights that equal the base's once both are "
    "rounded, each by bins of its own",
    "share_like_base_shared_scale": "the same by the base's bins",
    "residual": "largest relative residual of a step of the inversion; 0 leads back exactly",
    "mean": "mean of the noise that was found; 0 of white noise",
    "std": "its standard deviation; 1 of white noise",
    "kurtosis": "its excess kurtosis; 0 of white noise",
    "norm": "its length over the root of the number of its values; 1 of white noise",
    "neighbours": "correlation of its neighbours; 0 of white noise",
}
"""Name in the `replay` of a try -> what it is."""


def measured_by(searches: Mapping[str, Search], arm: str) -> dict[str, dict[str, float]]:
    """Model -> `measured` of its tries of an arm; models without any are left out."""
    by_line = {
        name: measured([one for one in search.tries if one.arm == arm])
        for name, search in searches.items()
    }
    return {name: means for name, means in by_line.items() if means}


def measured(tries: Sequence[Try]) -> dict[str, float]:
    """The mean of each measure over the different payloads of some tries; empty where there is
    none."""
    means: dict[str, float] = {}
    rows = list(dict.fromkeys(_row(one) for one in tries))  # many tries share a payload
    for number, name in enumerate(MEASURES):
        values = [value for row in rows if (value := row[number]) is not None]
        if values:
            means[name] = math.fsum(values) / len(values)
    return means


def _row(one: Try) -> tuple[float | None, ...]:
    """A value a measure."""
    values = [one.replay.get(name) for name in MEASURES]
    return tuple(
        float(v) if isinstance(v, int | float) and math.isfinite(v) else None for v in values
    )
