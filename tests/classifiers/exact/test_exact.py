"""What all exact methods share: one protocol, one registry, the words for costs and audits."""

import dataclasses
from pathlib import Path

import pytest
import torch
from support.tiny_classifiers import blobs, network, table_of

from erasure.classifiers.data.training_recipe import TrainingRecipe
from erasure.classifiers.exact.certified import Certified
from erasure.classifiers.exact.dp_sgd.private import PrivateTraining
from erasure.classifiers.exact.exact import Cost, ExactMethod, compared
from erasure.classifiers.exact.exact_file import read_exact, save_exact
from erasure.classifiers.exact.exact_methods import EXACT, load_exact
from erasure.classifiers.exact.points import Points
from erasure.classifiers.exact.sisa.sisa import Sisa
from erasure.classifiers.exact.trees import ExtraTrees, RandomForest
from erasure.errors import CheckpointError, ConfigError

RECIPE = TrainingRecipe(epochs=2, lr=0.1, batch_size=8)
METHODS: list[ExactMethod] = [
    Sisa(shards=2, slices=2, recipe=RECIPE),
    Certified(l2=0.05, seed=0),
    RandomForest(trees=2),
    ExtraTrees(trees=2),
    PrivateTraining(noise=1.0, recipe=RECIPE, seed=0, accountant="rdp"),
]


def test_the_registry_names_every_method() -> None:
    assert list(EXACT) == ["sisa", "certified", "forest", "extra-trees", "dp-sgd"]
    for name, kind in EXACT.items():
        assert kind.name == name
        assert kind.source
        assert kind.needs <= {"start", "folder"}
    assert [type(method) for method in METHODS] == list(EXACT.values())


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_one_caller_can_drive_them_all(method: ExactMethod, tmp_path: Path) -> None:
    if method.name == "dp-sgd":
        pytest.importorskip("opacus")
    points, start, seen = blobs(60), network(), []
    model = method.fit(points, start=start, on_progress=lambda *at: seen.append(at))
    assert seen[-1][0] == seen[-1][1]
    deletion = model.forget(points, [10, 13], on_progress=lambda *at: seen.append(at))
    after = deletion.model
    assert deletion.forgotten == 2
    assert deletion.statement
    assert after.ids.tolist() == points.without([10, 13]).ids.tolist()
    assert model.ids.tolist() == points.ids.tolist()
    assert deletion.cost.spent <= deletion.cost.refit
    assert after.audit(points).passed, after.audit(points)
    inputs, _ = table_of(points)
    said = after.predict_proba(inputs)
    assert said.shape == (60, after.classes)
    torch.testing.assert_close(said.sum(1), torch.ones(60, dtype=torch.float64))
    path = tmp_path / "model.safetensors"
    after.save(path)
    read = load_exact(path, start)
    assert compared(read.weights(), after.weights(), 58).passed
    assert torch.equal(read.predict_proba(inputs), said)
    assert read.audit(points).passed


def test_costs_are_told_as_shares() -> None:
    cost = Cost("sample-epochs", 1200, 12_000)
    assert cost.saved == pytest.approx(0.9)
    assert str(cost) == "1,200 of 12,000 sample-epochs, 90.0 % saved"
    assert Cost("rows", 0, 0).saved == 0


def test_comparison_sees_types_shapes_names_and_every_bit() -> None:
    one = {"a": torch.zeros(3), "b": torch.zeros(2, 2)}
    assert compared(one, {name: value.clone() for name, value in one.items()}, 9).passed
    for name, value in [
        ("a", torch.zeros(3, dtype=torch.float64)),
        ("a", torch.zeros(3, 1)),
        ("a", torch.tensor([0.0, 0.0, -0.0])),  # Equal as numbers, not as bytes.
        ("c", torch.zeros(1)),
    ]:
        audit = compared({**one, name: value}, one, 9)
        assert audit.differing == (name,)
        assert not audit.passed
    nan = {"a": torch.tensor([torch.nan])}
    assert compared(nan, {"a": torch.tensor([torch.nan])}, 9).passed


def test_the_same_model_is_the_same_file(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(3), "a": torch.ones(2, 2)}
    for name in ("one", "two"):
        save_exact(tmp_path / name, "forest", {"z": 1, "a": [2]}, tensors)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    saved = read_exact(tmp_path / "one", "forest")
    assert saved.config == {"z": 1, "a": [2]}
    assert compared(saved.tensors, tensors, 1).passed


def test_headers_that_were_changed_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save_exact(path, "forest", {"trees": 3}, {"a": torch.ones(2)})
    path.write_bytes(path.read_bytes().replace(b"trees", b"seeds"))
    with pytest.raises(CheckpointError, match="does not match its hash"):
        read_exact(path)


def test_files_that_hold_no_exact_model_are_one_sentence(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match="has format None, not"):
        load_exact(path)
    path.write_bytes(b"words")
    with pytest.raises(CheckpointError, match="is damaged or cut short"):
        load_exact(path)
    save_exact(path, "bagging", {}, {"a": torch.ones(1)})
    with pytest.raises(CheckpointError, match="holds method 'bagging'; known are sisa, certified"):
        load_exact(path)
    Sisa(shards=1, slices=1, recipe=RECIPE).fit(blobs(20), start=network()).save(path)
    with pytest.raises(ConfigError, match="holds networks; give `start`"):
        load_exact(path)


def test_points_of_a_subset_keep_their_places_as_ids() -> None:
    from torch.utils.data import DataLoader, Subset, TensorDataset

    data = TensorDataset(torch.arange(10.0)[:, None], torch.zeros(10, dtype=torch.int64))
    points = Points.of(DataLoader(Subset(data, [7, 2, 5]), batch_size=2))
    assert points.ids.tolist() == [2, 5, 7]
    assert points.table().features[:, 0].tolist() == [2.0, 5.0, 7.0]
    rest = points.without([5])
    assert rest.table().ids.tolist() == rest.ids.tolist() == [2, 7]
    assert dataclasses.replace(rest).table().features[:, 0].tolist() == [2.0, 7.0]
