"""How a tree is grown from rows, and what decides the split of one node."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from erasure.classifiers.exact.points import Table
from erasure.classifiers.exact.stable_draws import Bits, hashed
from erasure.classifiers.exact.trees.splits import (
    Ints,
    Rows,
    Split,
    best_drawn,
    best_midpoint,
    stable_thresholds,
)

LEFT: Final = 1
RIGHT: Final = 2
_ORDER: Final = 3
_THRESHOLD: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """The data and the rules of one tree."""

    table: Table
    counts: NDArray[np.float64]
    """(N, C): how often each row was drawn, in the column of its class; rows of zeros are out."""
    thresholds: Literal["midpoint", "drawn"]
    max_features: int
    max_depth: int | None
    min_leaf: int

    def drawn_rows(self) -> Ints:
        """The rows that were drawn at least once, ascending."""
        return np.flatnonzero(self.counts.any(1))

    def goes_left(self, rows: Ints, split: Split) -> NDArray[np.bool_]:
        """Which of the rows a split sends left."""
        left: NDArray[np.bool_] = self.table.features[rows, split.feature] <= split.threshold
        return left

    def decide(self, rows: Ints, counts: Ints, depth: int, key: Bits) -> Split | None:
        """The split of a node, None for a leaf; depends on the set of rows, its place and the key.

        Features are looked at in an order that the key decides, `max_features` at a time, until
        some of them can be split: constant ones do not count where all are constant.

        Args:
            counts: (C,) of the node.
        """
        full = self.max_depth is not None and depth >= self.max_depth
        if full or len(rows) < max(2, 2 * self.min_leaf) or (counts > 0).sum() < 2:
            return None
        features = self.table.features.shape[1]
        order = hashed(hashed(key, _ORDER), np.arange(features)).argsort(kind="stable")
        own = self.counts[rows]
        for first in range(0, features, self.max_features):
            looked_at = order[first : first + self.max_features]
            values = self.table.features[rows[:, None], looked_at]
            split = self._best(Rows(values, own, self.min_leaf), looked_at, key)
            if split is not None:
                return split
        return None

    def _best(self, rows: Rows, features: NDArray[np.intp], key: Bits) -> Split | None:
        if self.thresholds == "midpoint":
            midpoint = best_midpoint(rows)
            return None if midpoint is None else Split(int(features[midpoint[0]]), midpoint[1])
        keys = hashed(hashed(key, _THRESHOLD), features)
        drawn = stable_thresholds(rows.values.min(0), rows.values.max(0), keys)
        column = best_drawn(rows, drawn)
        return None if column is None else Split(int(features[column]), float(drawn[column]))
