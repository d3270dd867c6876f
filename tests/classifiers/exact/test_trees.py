"""Forests that forget are, node by node, the forests grown without the points."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny_classifiers import blobs, points_of, table_of
from torch import Tensor

from erasure.classifiers.exact.exact import OnProgress
from erasure.classifiers.exact.exact_file import read_exact, save_exact
from erasure.classifiers.exact.points import Points
from erasure.classifiers.exact.stable_draws import hashed, key_of, poisson, uniforms
from erasure.classifiers.exact.trees import ExtraTrees, Forest, RandomForest
from erasure.classifiers.exact.trees.splits import (
    Rows,
    best_drawn,
    best_midpoint,
    stable_thresholds,
)
from erasure.classifiers.exact.trees.tree import Tree
from erasure.errors import CheckpointError, ConfigError

KINDS = (RandomForest, ExtraTrees)


def same_nodes(one: Forest, other: Forest) -> bool:
    """Whether all trees have the same features, thresholds, counts and rows in all nodes."""
    pairs = zip(one.trees, other.trees, strict=True)
    fields = [field.name for field in dataclasses.fields(Tree)]
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for a, b in pairs for n in fields)


def tied(count: int, levels: int, classes: int, seed: int) -> Points:
    """Points whose four features take few values, so that scores and values tie."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(0, levels, (count, 4), generator=generator).double()
    return points_of(inputs, torch.randint(0, classes, (count,), generator=generator))


@settings(max_examples=20)
@given(
    kind=st.sampled_from(KINDS),
    count=st.integers(3, 60),
    levels=st.integers(2, 40),
    leaf=st.integers(1, 4),
    depth=st.none() | st.integers(0, 4),
    features=st.sampled_from([1, "sqrt", "all"]),
    seed=st.integers(0, 999),
    data=st.data(),
)
def test_forgetting_equals_refitting_node_by_node(
    kind: type[RandomForest],
    count: int,
    levels: int,
    leaf: int,
    depth: int | None,
    features: int | str,
    seed: int,
    data: st.DataObject,
) -> None:
    points = tied(count, levels, 3, seed)
    rules = {"max_depth": depth, "min_samples_leaf": leaf, "max_features": features, "seed": seed}
    forest = kind(trees=3, **rules).fit(points, classes=3)
    gone = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count - 1))
    first = data.draw(st.integers(1, len(gone)))
    one_by_one = forest
    for part in (sorted(gone)[:first], sorted(gone)[first:]):
        if part:
            one_by_one = one_by_one.forget(points, part).model
    refitted = forest.refit(points.without(gone))
    assert same_nodes(forest.forget(points, gone).model, refitted)
    assert same_nodes(one_by_one, refitted)
    assert one_by_one.ids.tolist() == refitted.ids.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_forest_that_forgets_stays_as_it_was(kind: type[RandomForest]) -> None:
    points = blobs(60)
    forest, again = kind(trees=4).fit(points), kind(trees=4).fit(points)
    forest.forget(points, [10, 13, 16])
    assert same_nodes(forest, again)


def test_the_order_of_the_points_does_not_matter() -> None:
    inputs, labels = table_of(blobs(50))
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    straight = points_of(inputs, labels, torch.arange(50))
    mixed = points_of(inputs[order], labels[order], order)
    forests = [RandomForest(trees=3).fit(points) for points in (straight, mixed)]
    assert same_nodes(*forests)


@pytest.mark.parametrize("kind", KINDS)
def test_one_deletion_looks_at_far_fewer_nodes_than_refitting(kind: type[RandomForest]) -> None:
    points = blobs(400, features=8)
    forest = kind(trees=10).fit(points)
    deletion = forest.forget(points, [10])
    nodes = deletion.details
    assert deletion.forgotten == 1
    assert deletion.cost.unit == "rows examined"
    assert 0 < deletion.cost.spent < 0.6 * deletion.cost.refit
    assert nodes["nodes_rebuilt"] <= nodes["nodes_decided"] < 0.3 * nodes["nodes"]
    assert nodes["trees_changed"] <= nodes["trees"] == 10
    # Refitting looks at every row of every node; the counts of a node say how many that is.
    assert deletion.cost.refit == sum(int(tree.rows.sum()) for tree in deletion.model.trees)


def test_trees_that_did_not_draw_a_point_are_not_looked_at() -> None:
    points = blobs(40)
    forest = RandomForest(trees=20).fit(points)
    drawn = [int(poisson(key_of(0, "bootstrap", tree), [10])[0]) for tree in range(20)]
    assert forest.forget(points, [10]).details["trees_changed"] == sum(n > 0 for n in drawn) < 20


@settings(max_examples=40)
@given(count=st.integers(2, 12), leaf=st.integers(1, 3), seed=st.integers(0, 999))
def test_the_best_midpoint_has_the_least_gini_impurity(count: int, leaf: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5, (count, 3)).astype(float)
    counts = np.eye(3)[rng.integers(0, 3, count)] * rng.integers(1, 3, (count, 1))

    def impurity(side: np.ndarray) -> float:
        total = side.sum(0)
        return total.sum() * (1 - ((total / total.sum()) ** 2).sum())

    impurities = {}
    for column in range(3):
        levels = np.unique(values[:, column])
        for threshold in (levels[:-1] + levels[1:]) / 2:
            left = values[:, column] <= threshold
            if min(left.sum(), (~left).sum()) >= leaf:
                impurities[column, threshold] = impurity(counts[left]) + impurity(counts[~left])
    best = best_midpoint(Rows(values, counts, leaf))
    if best is None:
        assert not impurities
    else:
        assert impurities[best] <= min(impurities.values()) + 1e-9  # Rounding of the slow loop.


def test_a_tie_goes_to_the_first_column_and_the_lowest_threshold() -> None:
    column = np.array([0.0, 1.0, 2.0, 3.0])
    counts = np.eye(2)[[0, 1, 1, 0]]  # Cutting off either end is as good.
    rows = Rows(np.stack([column, column], 1), counts, 1)
    assert best_midpoint(rows) == (0, 0.5)
    assert best_drawn(rows, np.array([2.5, 0.5])) == 0


def test_wide_nodes_are_judged_in_parts_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    rows = Rows(rng.normal(size=(30, 7)), np.eye(2)[rng.integers(0, 2, 30)], 1)
    whole = best_midpoint(rows)
    monkeypatch.setattr("erasure.classifiers.exact.trees.splits._CHUNK", 1)
    assert best_midpoint(rows) == whole


def test_a_midpoint_of_neighbouring_numbers_still_divides_them() -> None:
    low = 1.0
    high = np.nextafter(low, 2)
    rows = Rows(np.array([[low], [high]]), np.eye(2), 1)
    assert best_midpoint(rows) == (0, low)


@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(1e-3, 1e6),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    seed=st.integers(0, 999),
)
def test_a_threshold_stays_while_it_lies_between_the_ends(
    low: float, width: float, cut: tuple[float, float], seed: int
) -> None:
    high, key = low + width, key_of(seed)
    ends = np.array([low]), np.array([high])
    (threshold,) = stable_thresholds(*ends, key)
    assert low <= threshold < high
    inner = low + cut[0] * (threshold - low), threshold + cut[1] * (high - threshold)
    wide = max(abs(low), abs(high))
    narrow = max(abs(inner[0]), abs(inner[1]))
    same_start = (low < 0) == (inner[0] < 0) and np.frexp(wide)[1] == np.frexp(narrow)[1]
    if same_start and inner[0] <= threshold < inner[1]:
        assert stable_thresholds(np.array([inner[0]]), np.array([inner[1]]), key) == threshold


def test_thresholds_are_uniform_between_the_ends() -> None:
    keys = hashed(key_of(0), np.arange(20_000))
    drawn = stable_thresholds(np.full(20_000, -3.0), np.full(20_000, 5.0), keys)
    shares = np.histogram(drawn, bins=8, range=(-3, 5))[0] / 20_000
    assert np.abs(shares - 1 / 8).max() < 0.01  # 4 standard deviations of a share.


def test_a_constant_column_has_no_threshold() -> None:
    ends = np.array([2.0, 0.0]), np.array([2.0, 1.0])
    drawn = stable_thresholds(*ends, hashed(key_of(0), [0, 1]))
    assert np.isnan(drawn).tolist() == [True, False]


def test_bootstrap_counts_are_poisson_and_belong_to_the_point() -> None:
    counts = poisson(key_of(3), np.arange(50_000))
    assert abs(counts.mean() - 1) < 0.02  # 4 standard deviations of the mean.
    assert abs(counts.var() - 1) < 0.04
    assert abs((counts == 0).mean() - np.exp(-1)) < 0.01
    assert poisson(key_of(3), [7, 41]).tolist() == counts[[7, 41]].tolist()


def test_hashes_are_those_of_splitmix64() -> None:
    # The first outputs of the reference generator for the seed 0.
    wanted = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert hashed(np.zeros(1, dtype=np.uint64), np.arange(3)).tolist() == wanted
    assert 0 <= uniforms(key_of(0), np.arange(999)).min() < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_the_mean_of_the_leaves(kind: type[RandomForest]) -> None:
    points = blobs(80)
    forest = kind(trees=5, min_samples_leaf=4).fit(points)
    inputs, _ = table_of(blobs(9, seed=0))
    wanted = torch.zeros(9, 3, dtype=torch.float64)
    for tree in forest.trees:
        sizes = tree.sizes()
        for row, x in enumerate(inputs.double().numpy()):
            node = 0
            while tree.feature[node] >= 0:
                left = x[tree.feature[node]] <= tree.threshold[node]
                node = node + 1 if left else node + 1 + int(sizes[node + 1])
            wanted[row] += torch.from_numpy(tree.counts[node] / tree.counts[node].sum())
    probabilities = forest.predict_proba(inputs)
    torch.testing.assert_close(probabilities, wanted / 5)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(9, dtype=torch.float64))


@pytest.mark.crossed
@pytest.mark.parametrize("data", ["digits", "breast_cancer"])
@pytest.mark.parametrize("kind", KINDS)
def test_accuracy_is_that_of_scikit_learn_within_two_points(
    kind: type[RandomForest], data: str
) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    ensemble = pytest.importorskip("sklearn.ensemble")
    x, y = getattr(datasets, f"load_{data}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    train, test = np.split(order, [min(500, len(x) // 2)])
    ours = kind(trees=25).fit(points_of(torch.from_numpy(x[train]), torch.from_numpy(y[train])))
    said = ours.predict_proba(torch.from_numpy(x[test])).argmax(1).numpy()
    other = {"forest": "RandomForestClassifier", "extra-trees": "ExtraTreesClassifier"}[kind.name]
    theirs = [
        getattr(ensemble, other)(n_estimators=25, random_state=s).fit(x[train], y[train])
        for s in range(5)
    ]
    mean = np.mean([model.score(x[test], y[test]) for model in theirs])
    assert abs((said == y[test]).mean() - mean) < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_an_audit_passes_after_forgetting_and_fails_when_tampered_with(
    kind: type[RandomForest],
) -> None:
    points = blobs(60)
    forest = kind(trees=3).fit(points).forget(points, [10, 40]).model
    assert forest.audit(points).passed
    moved = forest.trees[1].threshold.copy()
    moved[0] = np.nextafter(moved[0], 9)
    trees = (forest.trees[0], dataclasses.replace(forest.trees[1], threshold=moved))
    audit = dataclasses.replace(forest, trees=(*trees, forest.trees[2])).audit(points)
    assert not audit.passed
    assert audit.differing == ("threshold",)
    assert str(audit).startswith("FAILED: 1 of 5 tensors")


def test_an_audit_fails_for_a_forest_that_only_says_it_forgot() -> None:
    points = blobs(60)
    forest = ExtraTrees(trees=3).fit(points)
    liar = dataclasses.replace(forest, ids=points.without([10]).ids)
    assert not liar.audit(points).passed


@pytest.mark.parametrize("kind", KINDS)
def test_saving_and_loading_is_the_identity(kind: type[RandomForest], tmp_path: Path) -> None:
    points = blobs(40)
    forest = kind(trees=3, max_features=2).fit(points)
    forest.save(tmp_path / "forest.safetensors")
    read = Forest.load(tmp_path / "forest.safetensors")
    assert same_nodes(forest, read)
    assert (read.settings, read.classes, read.features) == (forest.settings, 3, 5)
    assert same_nodes(read.forget(points, [10]).model, forest.forget(points, [10]).model)


def test_a_file_names_no_forgotten_point(tmp_path: Path) -> None:
    points = blobs(40)
    forest = RandomForest(trees=2).fit(points).forget(points, [13]).model
    forest.save(tmp_path / "forest.safetensors")
    assert 13 not in Forest.load(tmp_path / "forest.safetensors").ids


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "forest.safetensors"
    RandomForest(trees=2).fit(blobs(40)).save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="does not match its hash"):
        Forest.load(path)
    with pytest.raises(CheckpointError, match="there is no file"):
        Forest.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("feature", lambda x: x.index_fill(0, torch.tensor([0]), 5), "splits by feature 5 of 5"),
        ("feature", lambda x: x.index_fill(0, torch.tensor([0]), 2**62), "splits by feature"),
        ("feature", lambda x: torch.full_like(x, -1), "nodes of a tree are damaged"),
        ("feature", lambda x: x.double(), "arrays of a tree are damaged"),
        ("threshold", lambda x: x.index_fill(0, torch.tensor([0]), math.nan), "are damaged"),
        ("threshold", lambda x: x[:, None], "are damaged"),
        ("counts", lambda x: x[:, :-1], "are damaged"),
        ("counts", lambda x: -x - 1, "counts fewer than no rows"),
        ("rows", lambda x: -x - 1, "counts fewer than no rows"),
        ("nodes", lambda x: x + 1, "nodes and"),
        ("nodes", lambda x: x * torch.tensor([-1, 1]), "a tree has no node"),
        ("nodes", lambda x: x.double(), "a tree has no node"),
    ],
)
def test_a_file_made_anew_with_other_nodes_is_refused(
    name: str, change: Callable[[Tensor], Tensor], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "forest.safetensors"
    RandomForest(trees=2).fit(blobs(40)).save(path)
    saved = read_exact(path)
    tensors = {**saved.tensors, name: change(saved.tensors[name]).contiguous()}
    save_exact(path, saved.method, saved.config, tensors)
    with pytest.raises(CheckpointError, match=words):
        Forest.load(path)


def test_nodes_that_are_no_tree_are_refused() -> None:
    tree = RandomForest(trees=1).fit(blobs(40)).trees[0]
    with pytest.raises(CheckpointError, match="nodes of a tree are damaged"):
        dataclasses.replace(tree, feature=tree.feature[:-1]).sizes()


def test_progress_counts_trees() -> None:
    seen: list[tuple[int, int]] = []
    progress: OnProgress = lambda done, total: seen.append((done, total))  # noqa: E731
    points = blobs(20)
    forest = RandomForest(trees=2).fit(points, on_progress=progress)
    forest.forget(points, [10], on_progress=progress)
    assert seen == [(1, 2), (2, 2)] * 2


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ([], "no id to forget"),
        ([11], "id 11 is not among the 20 points of the model"),
        ([10, 11, 12], "ids 11, 12 are not among"),
        (range(10, 70, 3), "all 20 points are to be forgotten"),
    ],
)
def test_ids_that_cannot_be_forgotten_are_named(gone: list[int], said: str) -> None:
    points = blobs(20)
    with pytest.raises(ConfigError, match=said):
        RandomForest(trees=1).fit(points).forget(points, gone)


def test_forgetting_twice_is_an_error() -> None:
    points = blobs(20)
    forest = RandomForest(trees=1).fit(points).forget(points, [10]).model
    with pytest.raises(ConfigError, match="forgotten before"):
        forest.forget(points, [10])


def test_data_that_cannot_be_meant_is_named() -> None:
    inputs, labels = table_of(blobs(20))
    forest = RandomForest(trees=1)
    with pytest.raises(ConfigError, match="there is no point"):
        forest.fit(points_of(inputs[:0], labels[:0]))
    with pytest.raises(ConfigError, match="labels run from 0 to 2; give labels from 0 to 1"):
        forest.fit(points_of(inputs, labels), classes=2)
    with pytest.raises(ConfigError, match="labels run from -1"):
        forest.fit(points_of(inputs, labels - 1))
    with pytest.raises(ConfigError, match="point 3 has a feature that is not finite"):
        forest.fit(points_of(inputs.index_fill(0, torch.tensor(3), torch.nan), labels))
    with pytest.raises(ConfigError, match="id 4 is given twice"):
        points_of(inputs, labels, torch.tensor([4, *range(19)]))
    with pytest.raises(ConfigError, match="3 ids are given for 20 samples"):
        points_of(inputs, labels, torch.arange(3))


def test_other_data_than_the_model_was_trained_on_is_refused() -> None:
    points, forest = blobs(20), RandomForest(trees=1).fit(blobs(20))
    with pytest.raises(ConfigError, match="not among the 19 points given"):
        forest.forget(points.without([10]), [13])
    with pytest.raises(ConfigError, match="points have 4 features and the forest was grown on 5"):
        forest.forget(blobs(20, features=4), [13])
    with pytest.raises(ConfigError, match="rows have 4 features; give 5"):
        forest.predict_proba(torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("settings_", "said"),
    [
        ({"trees": 0}, "trees is 0"),
        ({"min_samples_leaf": 0}, "min_samples_leaf is 0"),
        ({"max_depth": -1}, "max_depth is -1"),
        ({"max_features": 0}, "max_features is 0"),
        ({"max_features": "log2"}, "max_features is 'log2'"),
    ],
)
def test_settings_are_checked(settings_: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RandomForest(**settings_)
