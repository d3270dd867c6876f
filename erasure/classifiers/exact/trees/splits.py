"""The best split of a node by Gini impurity, in whole numbers, so that ties are ties.

A split is judged by `sum(L**2) / n_L + sum(R**2) / n_R` over the class counts L and R of its two
sides: largest where the weighted Gini impurity is smallest. Counts are whole and so exact in any
order of summation; equal scores go to the earlier column, then to the lower threshold. The split is
therefore a function of the set of rows, which is what makes forgetting exact.
"""

# N rows of the node, M columns looked at, C classes.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from erasure.classifiers.exact.stable_draws import Bits, uniforms

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CHUNK = 1 << 21  # Class counts held at once while thresholds are judged.
_DRAWS = 8  # Random numbers hashed at once; their values do not depend on it.


@dataclass(frozen=True, slots=True)
class Split:
    """Rows with `feature <= threshold` go left."""

    feature: int
    threshold: float


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows of one node."""

    values: Floats
    """(N, M)"""
    counts: Floats
    """(N, C): how often the row is drawn, in the column of its class; whole numbers."""
    min_leaf: int
    """Fewest rows on a side."""


def best_midpoint(rows: Rows) -> tuple[int, float] | None:
    """The best threshold halfway between two neighbouring values of a column, over all columns.

    Returns:
        Column and threshold; None where no threshold leaves enough rows on both sides.
    """
    n, m = rows.values.shape
    width = max(1, _CHUNK // (n * rows.counts.shape[1]))
    best: tuple[float, int, float] | None = None
    for first in range(0, m, width):
        candidate = _best_of_columns(rows, rows.values[:, first : first + width])
        if candidate is not None and (best is None or candidate[0] > best[0]):
            best = (candidate[0], first + candidate[1], candidate[2])
    return None if best is None else best[1:]


def _best_of_columns(rows: Rows, values: Floats) -> tuple[float, int, float] | None:
    order = values.argsort(0, kind="stable")  # (N, m)
    ordered = np.take_along_axis(values, order, 0)
    left = rows.counts[order[:-1]].cumsum(0)  # (N - 1, m, C), what lies up to each place
    scores = _scores(left, rows.counts.sum(0))
    size = np.arange(1, len(values))[:, None]
    allowed = (ordered[:-1] < ordered[1:]) & (size >= rows.min_leaf)
    allowed &= len(values) - size >= rows.min_leaf
    if not allowed.any():
        return None
    scores[~allowed] = -1.0
    column, place = divmod(int(scores.T.argmax()), len(scores))  # Columns first, so ties go there.
    low, high = ordered[place, column], ordered[place + 1, column]
    middle = low / 2 + high / 2
    threshold = middle if low <= middle < high else low  # Rounding must not let `high` go left.
    return float(scores[place, column]), column, float(threshold)


def best_drawn(rows: Rows, thresholds: Floats) -> int | None:
    """The column whose threshold, of (M,), is best; NaN where it has none.

    Returns:
        The column; None where no threshold leaves enough rows on both sides.
    """
    is_left = rows.values <= thresholds  # (N, M)
    size = is_left.sum(0)
    allowed = (size >= rows.min_leaf) & (len(is_left) - size >= rows.min_leaf)
    allowed &= (size > 0) & (size < len(is_left))
    if not allowed.any():
        return None
    left = is_left.T.astype(np.float64) @ rows.counts  # (M, C), exact: whole numbers
    scores = _scores(left, rows.counts.sum(0))
    scores[~allowed] = -1.0
    return int(scores.argmax())


def _scores(left: Floats, total: Floats) -> Floats:
    """Score each split from its class counts, (..., C) on the left and (C,) in all."""
    right = total - left
    with np.errstate(invalid="ignore"):  # A side may be empty where it is not allowed anyway.
        score: Floats = (left**2).sum(-1) / left.sum(-1) + (right**2).sum(-1) / right.sum(-1)
    return score


def stable_thresholds(low: Floats, high: Floats, key: Bits) -> Floats:
    """Thresholds drawn uniformly from [low, high), that seldom change when a point leaves.

    The plain `low + u * (high - low)` moves with every point at an end. Here numbers are drawn
    from a wider interval whose ends are zero or powers of two, and the first within [low, high) is
    taken; after each miss the interval ends there. The result is uniform, too, and it stays as
    long as it lies between the new ends, unless the wider interval changes: when the last negative
    value leaves, or the largest magnitude falls below a power of two.

    Args:
        low: (M,), smallest value of each column.
        high: (M,), largest.
        key: (M,), one for each column.

    Returns:
        (M,), NaN where low equals high.
    """
    _, exponent = np.frexp(np.maximum(np.abs(low), np.abs(high)))
    end = np.ldexp(1.0, exponent)
    start = np.where(low < 0, -end, 0.0)
    thresholds = np.where(low < high, np.nan, 0.0)
    first = 0
    while (missing := np.isnan(thresholds)).any():
        for shares in uniforms(key, np.arange(first, first + _DRAWS)[:, None]):
            drawn = start + (end - start) * shares
            below, above = drawn < low, drawn >= high
            np.copyto(start, drawn, where=below)
            np.copyto(end, drawn, where=above)
            hit = missing & ~(below | above)
            thresholds[hit] = drawn[hit]
            missing &= ~hit
        first += _DRAWS
    thresholds[low >= high] = np.nan
    return thresholds
