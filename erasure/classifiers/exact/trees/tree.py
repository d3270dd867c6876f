"""One decision tree as arrays, grown from rows or revised after some of them left."""

# K nodes, C classes.

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from erasure.classifiers.exact.stable_draws import Bits, hashed
from erasure.classifiers.exact.trees.growth import LEFT, RIGHT, Growth
from erasure.classifiers.exact.trees.splits import Floats, Ints, Split
from erasure.errors import CheckpointError


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """Nodes in the order of a walk that takes the left side first, so a subtree is a slice."""

    feature: Ints
    """(K,): what the node splits by; -1 for a leaf."""
    threshold: Floats
    """(K,): at most this goes left; 0 for a leaf."""
    counts: Ints
    """(K, C): class counts, each row as often as it was drawn."""
    rows: Ints
    """(K,): rows that were drawn, each once."""

    def check(self, features: int, classes: int) -> None:
        """Refuse what a file may hold and no grown tree has.

        Args:
            features: columns of the rows that it was grown on.
            classes: C.

        Raises:
            CheckpointError: a shape or a type is wrong, a node splits by a feature that there is
                not, a count is below 0, a threshold is not finite, or the nodes are no tree.
        """
        nodes = len(self.feature)
        fits = (
            self.feature.dtype == self.counts.dtype == self.rows.dtype == np.int64
            and self.threshold.dtype == np.float64
            and self.feature.shape == self.threshold.shape == self.rows.shape == (nodes,)
            and self.counts.shape == (nodes, classes)
        )
        if not fits or not np.isfinite(self.threshold).all():
            raise CheckpointError("the arrays of a tree are damaged; train again")
        if not ((self.feature >= -1) & (self.feature < features)).all():
            raise CheckpointError(
                f"a node of a tree splits by feature {int(self.feature.max())} of {features}; "
                "train again"
            )
        if (self.counts < 0).any() or (self.rows < 0).any():
            raise CheckpointError("a node of a tree counts fewer than no rows; train again")
        self.sizes()

    def sizes(self) -> Ints:
        """(K,): nodes of the subtree below and with each node.

        Raises:
            CheckpointError: the nodes are no tree.
        """
        sizes = np.ones(len(self.feature), dtype=np.int64)
        above: list[int] = []  # Sizes of the subtrees to the right, the nearest last.
        for node in range(len(self.feature) - 1, -1, -1):
            if self.feature[node] >= 0:
                if len(above) < 2:
                    raise CheckpointError("the nodes of a tree are damaged; train again")
                sizes[node] += above.pop() + above.pop()
            above.append(int(sizes[node]))
        if len(above) != 1:
            raise CheckpointError("the nodes of a tree are damaged; train again")
        return sizes

    def leaf_counts(self, features: Floats) -> Ints:
        """Class counts of the leaf that each row of (B, D) comes to, (B, C)."""
        left = np.arange(1, len(self.feature) + 1)
        right = np.zeros_like(left)
        inner = np.flatnonzero(self.feature >= 0)
        right[inner] = inner + 1 + self.sizes()[inner + 1]
        node = np.zeros(len(features), dtype=np.int64)
        moving = np.arange(len(features))
        while True:
            moving = moving[self.feature[node[moving]] >= 0]
            if not len(moving):
                return self.counts[node]
            at = node[moving]
            goes_left = features[moving, self.feature[at]] <= self.threshold[at]
            node[moving] = np.where(goes_left, left[at], right[at])


@dataclass(frozen=True, slots=True)
class Revision:
    """A tree without some rows, and what it took."""

    tree: Tree
    decided: int
    """Nodes whose split was looked for again."""
    rebuilt: int
    """Nodes, of the decided, that were grown anew because the split above them changed."""
    examined: int
    """Rows of the decided nodes, all together."""


@dataclass(slots=True)
class _Nodes:
    """A tree under construction."""

    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    counts: list[Ints] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def add(self, split: Split | None, counts: Ints, rows: int) -> None:
        self.feature.append(-1 if split is None else split.feature)
        self.threshold.append(0.0 if split is None else split.threshold)
        self.counts.append(counts[None])
        self.rows.append(rows)

    def copy(self, tree: Tree, part: slice) -> None:
        self.feature += tree.feature[part].tolist()
        self.threshold += tree.threshold[part].tolist()
        self.counts.append(tree.counts[part])
        self.rows += tree.rows[part].tolist()

    def tree(self) -> Tree:
        return Tree(
            np.array(self.feature, dtype=np.int64),
            np.array(self.threshold),
            np.concatenate(self.counts),
            np.array(self.rows, dtype=np.int64),
        )


def grow(growth: Growth, key: Bits) -> Tree:
    """Grow a tree; the same rows, rules and key give the same tree, bit for bit."""
    return _build(growth, key, None).tree


def revise(tree: Tree, growth: Growth, key: Bits) -> Revision:
    """What `grow` would give now, from what it gave before some rows left.

    A node that still has as many rows as it had has the same rows, since none came; everything
    below it is kept. The others look for their split again, and go on with the old nodes below
    them as long as the split sends the remaining rows where the old one did.

    Args:
        tree: grown with the same rules and key from these rows and others.

    Source: arXiv:2009.05567 (DaRE) for retraining subtrees whose split changes; here no statistics
        are cached, every threshold of a forest is looked at, and the random choices are tied to
        the place in the tree, so the result is not only as likely as that of training again: it
        is that result.
    """
    return _build(growth, key, tree)


def _build(growth: Growth, key: Bits, old: Tree | None) -> Revision:
    nodes, decided, rebuilt, examined = _Nodes(), 0, 0, 0
    sizes = None if old is None else old.sizes()
    # Rows, key and depth of a node, and where the old tree has it.
    todo: list[tuple[Ints, Bits, int, int | None]] = [
        (growth.drawn_rows(), key, 0, None if old is None else 0)
    ]
    while todo:
        rows, key, depth, place = todo.pop()
        if old is not None and sizes is not None and place is not None:
            if len(rows) == old.rows[place]:
                nodes.copy(old, slice(place, place + int(sizes[place])))
                continue
        else:
            rebuilt += 1
        counts = growth.counts[rows].sum(0).astype(np.int64)
        split = growth.decide(rows, counts, depth, key)
        nodes.add(split, counts, len(rows))
        decided, examined = decided + 1, examined + len(rows)
        if split is None:
            continue
        goes_left = growth.goes_left(rows, split)
        below: tuple[int | None, int | None] = (None, None)
        if old is not None and sizes is not None and place is not None:
            below = _places_below(old, sizes, place, growth, rows, goes_left)
        todo.append((rows[~goes_left], hashed(key, RIGHT), depth + 1, below[1]))
        todo.append((rows[goes_left], hashed(key, LEFT), depth + 1, below[0]))
    return Revision(nodes.tree(), decided, rebuilt, examined)


def _places_below(
    old: Tree,
    sizes: Ints,
    place: int,
    growth: Growth,
    rows: Ints,
    goes_left: NDArray[np.bool_],
) -> tuple[int | None, int | None]:
    """Where the old tree has the two sides of a node, if it divided these rows the same way."""
    if old.feature[place] < 0:
        return None, None
    before = Split(int(old.feature[place]), float(old.threshold[place]))
    if not np.array_equal(growth.goes_left(rows, before), goes_left):
        return None, None
    return place + 1, place + 1 + int(sizes[place + 1])
