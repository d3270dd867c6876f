"""Random forests and extra trees from which points can be deleted, exactly."""

# N points with D features, C classes, T trees.

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from erasure.classifiers.data.batch import Inputs
from erasure.classifiers.exact.exact import Audit, Cost, Deletion, OnProgress, compared, counted
from erasure.classifiers.exact.exact_file import read_exact, save_exact, whole
from erasure.classifiers.exact.points import Points, Table
from erasure.classifiers.exact.stable_draws import key_of, poisson
from erasure.classifiers.exact.trees.growth import Growth
from erasure.classifiers.exact.trees.tree import Tree, grow, revise
from erasure.errors import CheckpointError, ConfigError
from erasure.setting_checks import require_counts

LARGEST: Final = 1e300
"""Largest magnitude of a feature."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Settings:
    """What both kinds of forest share."""

    name: ClassVar[str]
    source: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    thresholds: ClassVar[Literal["midpoint", "drawn"]]
    bootstrap: ClassVar[bool]

    trees: int = 100
    max_depth: int | None = None
    """Splits above a leaf; None for as many as it takes."""
    min_samples_leaf: int = 1
    max_features: int | Literal["sqrt", "all"] = "sqrt"
    """Features looked at for each split."""
    seed: int = 0

    def __post_init__(self) -> None:
        require_counts(self, "trees", "min_samples_leaf")
        if self.max_depth is not None and self.max_depth < 0:
            raise ConfigError(f"max_depth is {self.max_depth}; give 0 or more, or none")
        known = self.max_features in ("sqrt", "all")
        if not known and (not isinstance(self.max_features, int) or self.max_features < 1):
            raise ConfigError(
                f"max_features is {self.max_features!r}; give 1 or more, 'sqrt' or 'all'"
            )

    def growth(self, table: Table, classes: int, tree: int) -> Growth:
        """The rules of one tree, and how often it draws each point."""
        number = table.features.shape[1]
        wanted = {"sqrt": math.isqrt(number), "all": number}.get(
            str(self.max_features), self.max_features
        )
        drawn = np.ones(len(table), dtype=np.int64)
        if self.bootstrap:
            drawn = poisson(key_of(self.seed, "bootstrap", tree), table.ids)
        return Growth(
            table,
            np.eye(classes)[table.labels] * drawn[:, None],
            self.thresholds,
            max_features=min(max(1, int(wanted)), number),
            max_depth=self.max_depth,
            min_leaf=self.min_samples_leaf,
        )

    def fit(
        self,
        points: Points,
        /,
        *,
        classes: int | None = None,
        start: nn.Module | None = None,
        folder: Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> "Forest":
        """Grow all trees; `start` and `folder` are not looked at.

        Raises:
            ConfigError: there is no point, a feature is not finite, or labels are out of range.
        """
        known = points.labels_below(classes)
        table, done = _table(points), counted(on_progress, self.trees)
        trees = []
        for tree in range(self.trees):
            trees.append(grow(self.growth(table, known, tree), key_of(self.seed, "tree", tree)))
            done()
        return Forest(self, known, points.ids, table.features.shape[1], tuple(trees))


class RandomForest(_Settings):
    """Bootstrap samples, and the best of all thresholds of some features.

    Two differences from Breiman's, so that a point can leave without moving the others: a tree
    draws each point Poisson(1) times by a hash of its id, and the features of a node are decided by
    the node's place.
    """

    __slots__ = ()
    name = "forest"
    source = "Breiman: Random forests, 2001; arXiv:2009.05567 for deletion"
    thresholds = "midpoint"
    bootstrap = True


class ExtraTrees(_Settings):
    """All points, and the best of one random threshold each for some features.

    Thresholds are uniform between the smallest and the largest value of the node, as in the paper,
    and drawn such that they seldom change when a point leaves (`stable_thresholds`).
    """

    __slots__ = ()
    name = "extra-trees"
    source = "Geurts, Ernst, Wehenkel: Extremely randomized trees, 2006; arXiv:2009.05567"
    thresholds = "drawn"
    bootstrap = False


KINDS: Final[dict[str, type[_Settings]]] = {"forest": RandomForest, "extra-trees": ExtraTrees}


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """A grown ensemble; holds no features of any point, only counts and thresholds.

    A threshold lies between, or at, values that points have, so a tree tells something of them.
    """

    settings: _Settings
    classes: int
    ids: Tensor
    features: int
    """D"""
    trees: tuple[Tree, ...]

    def forget(
        self, points: Points, gone: Iterable[int], /, on_progress: OnProgress | None = None
    ) -> "Deletion[Forest]":
        """A forest without some points: the very one that `refit` would grow without them.

        Raises:
            ConfigError: an id is unknown, none is given, or no point would be left.
        """
        rest = points.only(self.ids).without(gone)
        table, done = self._table(rest), counted(on_progress, len(self.trees))
        revisions = []
        for number, tree in enumerate(self.trees):
            growth = self.settings.growth(table, self.classes, number)
            revisions.append(revise(tree, growth, key_of(self.settings.seed, "tree", number)))
            done()
        trees = tuple(revision.tree for revision in revisions)
        left = len(self.ids) - len(rest)
        details = {
            "nodes": sum(len(tree.feature) for tree in trees),
            "nodes_decided": sum(revision.decided for revision in revisions),
            "nodes_rebuilt": sum(revision.rebuilt for revision in revisions),
            "trees": len(trees),
            "trees_changed": sum(revision.decided > 0 for revision in revisions),
        }
        spent = sum(revision.examined for revision in revisions)
        cost = Cost("rows examined", spent, sum(int(tree.rows.sum()) for tree in trees))
        return Deletion(
            replace(self, ids=rest.ids, trees=trees),
            left,
            cost,
            f"every node is what growing on the remaining {len(rest):,} points gives; "
            f"{details['nodes_rebuilt']:,} of {details['nodes']:,} nodes were grown anew",
            details,
        )

    def refit(self, points: Points, /, on_progress: OnProgress | None = None) -> "Forest":
        """Grow again on all of `points`, with the same settings."""
        self._table(points)
        return self.settings.fit(points, classes=self.classes, on_progress=on_progress)

    def audit(self, points: Points, /, on_progress: OnProgress | None = None) -> Audit:
        """Grow again on the points it holds, and compare every node.

        Raises:
            ConfigError: `points` lacks some of them.
        """
        rest = points.only(self.ids)
        return compared(self.weights(), self.refit(rest, on_progress).weights(), len(rest))

    def predict_proba(self, inputs: Inputs, /) -> Tensor:
        """Mean over the trees of the class shares in the leaf, (B, C), float64."""
        if not isinstance(inputs, Tensor):
            raise ConfigError("a forest takes one tensor of features, (rows, features)")
        rows = inputs.detach().flatten(1).to("cpu", torch.float64).numpy()
        if rows.shape[1] != self.features:
            raise ConfigError(f"rows have {rows.shape[1]} features; give {self.features}")
        total: NDArray[np.float64] = np.zeros((len(rows), self.classes))
        for tree in self.trees:
            counts = tree.leaf_counts(rows)
            total += counts / np.maximum(1, counts.sum(1, keepdims=True))
        shares = total.sum(1, keepdims=True)  # Below T where a bootstrap sample drew nothing.
        even = np.full_like(total, 1 / self.classes)
        return torch.from_numpy(np.divide(total, shares, out=even, where=shares > 0))

    def weights(self) -> dict[str, Tensor]:
        """The arrays of all trees, one after the other."""
        arrays: dict[str, list[NDArray[Any]]] = {
            "feature": [tree.feature for tree in self.trees],
            "threshold": [tree.threshold for tree in self.trees],
            "counts": [tree.counts for tree in self.trees],
            "rows": [tree.rows for tree in self.trees],
        }
        nodes = [len(tree.feature) for tree in self.trees]
        joined: dict[str, Tensor] = {
            name: torch.from_numpy(np.concatenate(part)) for name, part in arrays.items()
        }
        return {**joined, "nodes": torch.tensor(nodes)}

    def save(self, path: Path, /) -> None:
        """Write safetensors atomically: trees, settings and the ids of the remaining points."""
        config: dict[str, Any] = {
            "settings": asdict(self.settings),
            "classes": self.classes,
            "features": self.features,
        }
        save_exact(path, self.settings.name, config, {**self.weights(), "ids": self.ids})

    @classmethod
    def load(cls, path: Path) -> "Forest":
        """Read what `save` wrote.

        Raises:
            CheckpointError: the file is missing, damaged, or holds no forest.
        """
        saved = read_exact(path)
        if saved.method not in KINDS:
            raise CheckpointError(f"{path} holds a model of method {saved.method!r}, not a forest")
        with whole(path, "a forest"):
            settings = KINDS[saved.method](**saved.config["settings"])
            nodes = saved.tensors["nodes"].tolist()
            if not all(type(count) is int and count > 0 for count in nodes):
                raise ValueError("a tree has no node")
            if sum(nodes) != len(saved.tensors["feature"]):
                raise ValueError(f"{sum(nodes)} nodes and {len(saved.tensors['feature'])} features")
            ends = np.cumsum(nodes).tolist()
            names = ("feature", "threshold", "counts", "rows")
            arrays = [np.split(saved.tensors[name].numpy(), ends[:-1]) for name in names]
            trees = tuple(Tree(*parts) for parts in zip(*arrays, strict=True))
            known, features = int(saved.config["classes"]), int(saved.config["features"])
            for tree in trees:
                tree.check(features, known)
            return cls(settings, known, saved.tensors["ids"], features, trees)

    def _table(self, points: Points) -> Table:
        points.labels_below(self.classes)
        table = _table(points)
        if table.features.shape[1] != self.features:
            raise ConfigError(
                f"points have {table.features.shape[1]} features and the forest was grown on "
                f"{self.features}; give the data that it was trained on"
            )
        return table


def _table(points: Points) -> Table:
    table = points.table()
    largest = np.abs(table.features).max(initial=0.0)
    if table.features.shape[1] == 0 or largest > LARGEST:
        raise ConfigError(
            f"points have {table.features.shape[1]} features of up to {largest:g}; give at least "
            f"one, and none beyond {LARGEST:g}"
        )
    return table
