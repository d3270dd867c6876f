"""SISA after a deletion is, byte for byte, SISA trained without the points."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.leftovers import left_by_the_dead
from support.tiny_classifiers import blobs, network, points_of, table_of
from torch import Tensor, nn
from torch.utils.data import Dataset

from erasure.classifiers.data.batches import Batches
from erasure.classifiers.data.training_recipe import TrainingRecipe
from erasure.classifiers.exact.exact import compared
from erasure.classifiers.exact.exact_file import read_exact, save_exact
from erasure.classifiers.exact.points import Points
from erasure.classifiers.exact.sisa.sisa import ENSEMBLE, Sisa, SisaModel
from erasure.classifiers.exact.sisa.sisa_ensemble import ShardEnsemble
from erasure.classifiers.exact.sisa.sisa_plan import Plan, stage_epochs
from erasure.classifiers.exact.sisa.sisa_store import METHOD, SisaStore
from erasure.classifiers.progress import kept_seconds
from erasure.errors import CheckpointError, ConfigError, TrainingError
from erasure.storage.tensors.tensor_file import read_tensors

RECIPE = TrainingRecipe(epochs=2, lr=0.1, batch_size=8, schedule="constant")
SISA = Sisa(shards=3, slices=2, recipe=RECIPE)


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def places(points: Points, sisa: Sisa = SISA) -> dict[int, tuple[int, int]]:
    """Read from the stages of the plan in which shard and slice each id first appears."""
    by_id = {}
    for shard in range(sisa.shards):
        for stage in reversed(sisa.plan.stages(points.ids, shard)):
            by_id |= {int(i): (shard, stage.part) for i in points.ids[stage.members]}
    return by_id


def id_in(points: Points, shard: int, part: int) -> int:
    """A point of a shard's slice."""
    return next(i for i, place in places(points).items() if place == (shard, part))


def test_epochs_of_the_stages_cost_as_much_as_one_training() -> None:
    assert stage_epochs(10, 4) == (4, 4, 4, 4)  # 2 x 10 / 5; 4 (1 + 2 + 3 + 4) / 4 = 10
    assert stage_epochs(3, 3) == (1, 2, 1)  # 1.5 a stage
    assert stage_epochs(7, 1) == (7,)


def test_points_stay_in_their_shard_and_slice() -> None:
    points = blobs(200)
    before, after = places(points), places(points.without([10, 13, 400]))
    assert after == {i: place for i, place in before.items() if i not in (10, 13, 400)}
    assert set(before.values()) == {(shard, part) for shard in range(3) for part in range(2)}


def test_parts_are_of_about_equal_size() -> None:
    plan = Plan(shards=4, slices=2, epochs=2, seed=0)
    ids = torch.arange(4000)
    sizes = [[len(s.members) for s in plan.stages(ids, shard)] for shard in range(4)]
    assert all(abs(whole - 1000) < 120 for _, whole in sizes)  # 4 standard deviations
    assert all(abs(half - 500) < 90 for half, _ in sizes)
    assert sum(whole for _, whole in sizes) == 4000


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gone=st.sets(st.integers(0, 39), min_size=1, max_size=12),
    slices=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_forgetting_equals_training_without_the_points_byte_for_byte(
    gone: set[int], slices: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    points, names = blobs(40), [10 + 3 * place for place in gone]
    sisa = dataclasses.replace(SISA, slices=slices, seed=seed)
    ours, theirs = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    model = sisa.fit(points, classes=3, start=network(), folder=ours).forget(points, names).model
    again = sisa.fit(points.without(names), classes=3, start=network(), folder=theirs)
    assert compared(model.weights(), again.weights(), len(again.ids)).passed
    assert files(ours) == files(theirs)  # Every checkpoint, and none beside.


def test_two_deletions_equal_one(tmp_path: Path) -> None:
    points = blobs(40)
    model = SISA.fit(points, start=network(), folder=tmp_path / "a")
    model.forget(points, [10]).model.forget(points, [13, 40])
    SISA.fit(points, start=network(), folder=tmp_path / "b").forget(points, [10, 13, 40])
    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.parametrize("batchnorm", [False, True])
def test_without_a_folder_the_result_is_the_same(batchnorm: bool, tmp_path: Path) -> None:
    points, start = blobs(60), network(batchnorm=batchnorm)
    models = [SISA.fit(points, start=start, folder=folder) for folder in (None, tmp_path)]
    after = [model.forget(points, [10, 16]).model for model in models]
    assert compared(after[0].weights(), after[1].weights(), 58).passed
    assert after[0].audit(points).passed


def test_a_deletion_trains_one_shard_from_the_first_slice_that_held_the_point(
    tmp_path: Path,
) -> None:
    points = blobs(60)
    model = SISA.fit(points, start=network(), folder=tmp_path)
    before = files(tmp_path)
    deletion = model.forget(points, [id_in(points, shard=1, part=1)])
    after = files(tmp_path)
    assert set(before) == set(after)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"shard-001/slice-01.safetensors", ENSEMBLE}
    assert deletion.model.shards[0] is model.shards[0]
    assert deletion.model.shards[2] is model.shards[2]


def test_the_cost_counts_sample_epochs_by_hand(tmp_path: Path) -> None:
    points = blobs(60)
    model = SISA.fit(points, start=network(), folder=tmp_path)
    last = id_in(points, shard=1, part=1)
    deletion = model.forget(points, [last])
    remaining = [place for i, place in places(points).items() if i != last]
    # Epochs of 2 slices: 2 x 2 / 3 = 1.33 a stage, so 1 and 1.
    second = sum(shard == 1 for shard, _ in remaining)
    everything = len(remaining) + sum(part == 0 for _, part in remaining)
    assert (deletion.cost.spent, deletion.cost.refit) == (second, everything)
    assert deletion.cost.unit == "sample-epochs"
    assert deletion.cost.saved == 1 - second / everything
    assert deletion.details == {"shards_trained": 1, "shards": 3, "one_network": 2 * 59}
    early = deletion.model.forget(points, [id_in(points, shard=0, part=0)])
    own = [part for shard, part in remaining if shard == 0]
    both = len(own) - 1 + own.count(0) - 1  # Both stages of its shard, without the point.
    assert early.cost.spent == both


def test_a_shard_whose_last_point_leaves_has_no_say(tmp_path: Path) -> None:
    points = blobs(12)
    sisa = dataclasses.replace(SISA, shards=4)
    model = sisa.fit(points, start=network(), folder=tmp_path)
    first = [i for i, (shard, _) in places(points, sisa).items() if shard == 0]
    after = model.forget(points, first).model
    assert after.shards[0] is None
    assert after.audit(points).passed
    assert len(after.network().shards) == sum(shard is not None for shard in after.shards)
    assert torch.isfinite(after.predict_proba(torch.zeros(2, 5))).all()


class Killed(RuntimeError):
    """The machine went down."""


class Mortal(Dataset[tuple[Tensor, Tensor]]):
    """Samples that can be read so often before the machine goes down."""

    def __init__(self, points: Points, reads: int) -> None:
        self.inputs, self.labels = table_of(points)
        self.reads = reads

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        self.reads -= 1
        if self.reads < 0:
            raise Killed
        return self.inputs[place], self.labels[place]


def mortal(points: Points, reads: int) -> Points:
    """The same points, for so many reads."""
    return Points.of(Batches(Mortal(points, reads), 16), points.ids)


def reads_of(points: Points, task: Callable[[Points], Any]) -> int:
    """How often a task reads a sample."""
    data = Mortal(points, 10**9)
    task(Points.of(Batches(data, 16), points.ids))
    return 10**9 - data.reads


@pytest.mark.default("0.5")
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.95])
def test_a_training_that_was_killed_ends_with_the_same_bytes(share: float, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=6)  # Several epochs a stage.
    sisa, points = dataclasses.replace(SISA, recipe=recipe), blobs(40)

    def train(data: Points, name: str = "killed") -> SisaModel:
        return sisa.fit(data, classes=3, start=network(), folder=tmp_path / name)

    whole = reads_of(points, lambda data: train(data, "unbroken"))
    with pytest.raises(Killed):
        train(mortal(points, int(share * whole)))
    left = files(tmp_path / "killed")
    assert left
    assert kept_seconds(tmp_path / "killed") > 0
    assert ENSEMBLE not in left
    rest = reads_of(points, train)
    # What is read again: labels, one sample, fingerprints, and at most one epoch.
    assert rest < whole * (1 - share) + 40 + 1 + 17 * 7 + 40
    assert files(tmp_path / "killed") == files(tmp_path / "unbroken")
    assert kept_seconds(tmp_path / "killed") == 0  # Nothing says that it was ever cut.


def test_a_deletion_that_was_killed_is_continued_by_training_on_the_rest(tmp_path: Path) -> None:
    points = blobs(40)
    read = mortal(points, 10**9)
    remaining = read.without([10, 13, 16, 19])
    model = SISA.fit(read, start=network(), folder=tmp_path / "killed")
    with pytest.raises(Killed):
        model.forget(mortal(points, 30), [10, 13, 16, 19])
    with pytest.raises(CheckpointError, match="did not end; train there again on the points"):
        SisaModel.load(tmp_path / "killed" / ENSEMBLE, network())
    SISA.fit(remaining, classes=3, start=network(), folder=tmp_path / "killed")
    SISA.fit(remaining, classes=3, start=network(), folder=tmp_path / "whole")
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_a_stage_that_was_killed_is_not_continued_with_other_points(tmp_path: Path) -> None:
    points = blobs(40)
    recipe = dataclasses.replace(RECIPE, epochs=6)
    sisa = Sisa(shards=1, slices=1, recipe=recipe)
    whole = reads_of(points, lambda data: sisa.fit(data, start=network()))
    with pytest.raises(Killed):
        sisa.fit(mortal(points, whole // 2), start=network(), folder=tmp_path / "killed")
    assert any(name.endswith(".partial") for name in files(tmp_path / "killed"))
    # The same number of points, the first batch is the same, and one further on differs.
    inputs, labels = table_of(points)
    ids = points.ids.clone()
    ids[-1] += 1
    other = points_of(inputs, labels, ids)
    sisa.fit(other, start=network(), folder=tmp_path / "killed")
    sisa.fit(other, start=network(), folder=tmp_path / "whole")
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def changed(points: Points, place: int) -> Points:
    """The same ids, and another sample at a place."""
    inputs, labels = table_of(points)
    inputs = inputs.clone()
    inputs[place] += 1
    return points_of(inputs, labels, points.ids.clone())


def test_other_data_under_the_same_ids_are_trained_on_anew(tmp_path: Path) -> None:
    points = blobs(60)
    shard, part = places(points)[int(points.ids[-1])]
    SISA.fit(points, start=network(), folder=tmp_path / "a")
    before = files(tmp_path / "a")
    model = SISA.fit(changed(points, -1), start=network(), folder=tmp_path / "a")
    SISA.fit(changed(points, -1), start=network(), folder=tmp_path / "b")
    after = files(tmp_path / "a")
    assert after == files(tmp_path / "b")
    assert model.audit(changed(points, -1)).passed
    touched = {f"shard-{shard:03d}/slice-{n:02d}.safetensors" for n in range(part, 2)}
    assert {name for name in after if after[name] != before[name]} == {*touched, ENSEMBLE}


def test_an_audit_against_other_data_fails(tmp_path: Path) -> None:
    points = blobs(60)
    model = SISA.fit(points, start=network(), folder=tmp_path)
    assert not model.audit(changed(points, -1)).passed


def test_a_stage_that_was_killed_is_not_continued_with_other_data(tmp_path: Path) -> None:
    points = blobs(40)
    sisa = Sisa(shards=1, slices=1, recipe=dataclasses.replace(RECIPE, epochs=6))
    stage = sisa.plan.stages(points.ids, 0, points.marks())[0]
    store = sisa_store(sisa, tmp_path)
    other = sisa.plan.stages(points.ids, 0, changed(points, -1).marks())[0]
    assert store.partial(stage) != store.partial(other)
    assert stage.lineage == other.lineage


def test_checkpoints_of_before_they_knew_their_data_are_believed(tmp_path: Path) -> None:
    points = blobs(40)
    sisa = Sisa(shards=1, slices=1, recipe=RECIPE)
    store = sisa_store(sisa, tmp_path)
    (named,) = sisa.plan.stages(points.ids, 0, points.marks())
    (unnamed,) = sisa.plan.stages(points.ids, 0)
    state = network().state_dict()
    store.save(unnamed, state)
    path = store.path(unnamed)
    saved = read_exact(path, METHOD)
    assert saved.config["data"] == ""
    save_exact(path, METHOD, {k: v for k, v in saved.config.items() if k != "data"}, saved.tensors)
    assert store.load(named).keys() == state.keys()
    assert store.drop_stale([named]) == 1


def sisa_store(sisa: Sisa, folder: Path) -> SisaStore:
    """The checkpoints of a training that begins with `network()`."""
    nothing = (None,) * sisa.shards
    store = SisaModel(sisa, 3, torch.arange(0), network(), folder, nothing)._store()
    assert store is not None
    return store


def test_times_of_the_parts_of_a_training_add_up(tmp_path: Path) -> None:
    points = blobs(40)
    sisa = Sisa(shards=1, slices=1, recipe=dataclasses.replace(RECIPE, epochs=6))
    whole = reads_of(points, lambda data: sisa.fit(data, start=network()))
    with pytest.raises(Killed):
        sisa.fit(mortal(points, whole // 2), start=network(), folder=tmp_path)
    (partial,) = tmp_path.rglob("*.partial")
    state, metadata = read_tensors(partial).tensors, dict(read_tensors(partial).metadata)
    assert kept_seconds(tmp_path) == float(metadata["seconds"]) > 0
    store = sisa_store(sisa, tmp_path)
    store.add_seconds(20.0)
    store.add_seconds(3.0)
    assert kept_seconds(tmp_path) == pytest.approx(23 + float(metadata["seconds"]))
    partial.write_bytes(b"damaged")
    assert kept_seconds(tmp_path) == 23
    assert state
    store.end()
    assert kept_seconds(tmp_path) == 0
    assert kept_seconds(tmp_path / "nothing.state") == 0


def test_what_a_crash_left_half_written_goes_before_training(tmp_path: Path) -> None:
    points = blobs(40)
    model = SISA.fit(points, start=network(), folder=tmp_path)
    halves = [
        left_by_the_dead(path, b"old weights")
        for path in (tmp_path / ENSEMBLE, tmp_path / "shard-000" / "slice-00.safetensors")
    ]
    model.forget(points, [id_in(points, shard=0, part=1)])
    assert not any(half.exists() for half in halves)


def test_training_again_in_a_finished_folder_trains_nothing(tmp_path: Path) -> None:
    points = blobs(40)
    SISA.fit(points, start=network(), folder=tmp_path)
    before = files(tmp_path)
    seen: list[tuple[int, int]] = []
    SISA.fit(points, start=network(), folder=tmp_path, on_progress=lambda *at: seen.append(at))
    assert files(tmp_path) == before
    assert seen == [(0, 0)] * 3


def test_progress_counts_sample_epochs() -> None:
    points = blobs(40)
    seen: list[tuple[int, int]] = []
    SISA.fit(points, start=network(), on_progress=lambda *at: seen.append(at))
    assert len(seen) == 3
    assert seen[-1] == (SISA.plan.cost(points.ids),) * 2


def test_the_network_given_stays_as_it_is() -> None:
    start = network(batchnorm=True)
    before = {name: value.clone() for name, value in start.state_dict().items()}
    model = SISA.fit(blobs(60), start=start)
    assert compared(before, start.state_dict(), 60).passed
    with torch.no_grad():
        start[0].weight.zero_()
    assert model.audit(blobs(60)).passed  # It keeps first weights of its own.


class Constant(nn.Module):
    """Always the same logits, (classes,)."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1)


def test_shards_are_asked_together_by_mean_or_by_vote() -> None:
    shards = [Constant(0.0, 1.0), Constant(0.0, 0.5), Constant(9.0, 0.0)]
    mean = ShardEnsemble(shards, "mean", 2)(torch.zeros(1, 1)).exp()
    wanted = torch.stack([shard.logits.double().softmax(0) for shard in shards]).mean(0)
    torch.testing.assert_close(mean[0], wanted)
    assert mean.argmax() == 0
    vote = ShardEnsemble(shards, "vote", 2)(torch.zeros(1, 1)).exp()
    torch.testing.assert_close(vote[0], torch.tensor([1 / 3, 2 / 3], dtype=torch.float64))
    none = ShardEnsemble(shards[:1], "vote", 2)(torch.zeros(1, 1))
    assert torch.isfinite(none).all()  # Log of a share of nothing.


def test_probabilities_are_those_of_the_ensemble() -> None:
    points = blobs(300)
    sisa = dataclasses.replace(SISA, recipe=dataclasses.replace(RECIPE, epochs=12))
    inputs, labels = table_of(points)
    for aggregate in ("mean", "vote"):
        model = dataclasses.replace(sisa, aggregate=aggregate).fit(points, start=network())
        said = model.predict_proba(inputs)
        torch.testing.assert_close(said.sum(1), torch.ones(300, dtype=torch.float64))
        assert float((said.argmax(1) == labels).double().mean()) > 0.8
        torch.testing.assert_close(model.network()(inputs).softmax(1), said)


class Words(Dataset[dict[str, Tensor]]):
    """Texts: inputs by name."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        ids = torch.tensor([place % 2, 2, place % 3])
        return {"input_ids": ids, "attention_mask": torch.ones(3), "labels": ids[0]}


class Reader(nn.Module):
    """A bag of words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(3, 4), nn.Linear(4, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.head((self.words(input_ids) * attention_mask[..., None]).mean(1))


def test_texts_can_be_forgotten(tmp_path: Path) -> None:
    points = Points.of(Batches(Words(), 8))
    model = SISA.fit(points, start=Reader(), folder=tmp_path).forget(points, [3, 4]).model
    assert model.audit(points).passed
    batch = next(points.samples.ordered())
    assert model.predict_proba(batch.inputs).shape == (8, 2)


def test_an_audit_passes_after_forgetting(tmp_path: Path) -> None:
    points = blobs(40)
    model = SISA.fit(points, start=network(), folder=tmp_path).forget(points, [10, 13]).model
    audit = model.audit(points)
    assert audit.passed
    assert "equal to training on the remaining 38 points alone, byte for byte" in str(audit)
    assert SisaModel.load(tmp_path / ENSEMBLE, network()).audit(points).passed


def tamper_with_memory(model: SisaModel, folder: Path) -> None:
    shard = model.shards[1]
    assert shard is not None
    shard[0].weight.data[0, 0] += 1e-6


def tamper_with_a_checkpoint(model: SisaModel, folder: Path) -> None:
    """Leaves a file that loads."""
    store = model._store()
    assert store is not None
    stage = model.settings.plan.stages(model.ids, 2)[0]
    state = dict(store.load(stage))
    state["0.bias"] = torch.nextafter(state["0.bias"], torch.tensor(9.0))
    store.save(stage, state)


def damage_a_checkpoint(model: SisaModel, folder: Path) -> None:
    path = folder / "shard-000" / "slice-00.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def keep_an_old_file(model: SisaModel, folder: Path) -> None:
    (folder / "shard-000" / "slice-00.0123456789abcdef.partial").write_bytes(b"old weights")


def lose_a_file(model: SisaModel, folder: Path) -> None:
    (folder / "shard-000" / "slice-01.safetensors").unlink()


def keep_the_old_ensemble(model: SisaModel, folder: Path) -> None:
    old = SISA.fit(blobs(40), start=network())
    old.save(folder / ENSEMBLE)


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (tamper_with_memory, "shard-001.0.weight"),
        (tamper_with_a_checkpoint, "shard-002/slice-00.safetensors 0.bias"),
        (damage_a_checkpoint, "shard-000/slice-00.safetensors 0.bias"),
        (keep_an_old_file, "shard-000/slice-00.0123456789abcdef.partial"),
        (lose_a_file, "shard-000/slice-01.safetensors"),
        (keep_the_old_ensemble, "ensemble.safetensors ids"),
    ],
)
def test_an_audit_fails_when_tampered_with(
    tamper: Callable[[SisaModel, Path], None], named: str, tmp_path: Path
) -> None:
    points = blobs(40)
    model = SISA.fit(points, start=network(), folder=tmp_path).forget(points, [10, 13]).model
    tamper(model, tmp_path)
    audit = model.audit(points)
    assert not audit.passed
    assert named in audit.differing


def test_an_audit_fails_for_a_model_that_only_says_it_forgot(tmp_path: Path) -> None:
    points = blobs(40)
    model = SISA.fit(points, start=network(), folder=tmp_path)
    liar = dataclasses.replace(model, ids=points.without([10]).ids)
    assert not liar.audit(points).passed


def test_loading_gives_what_was_trained_and_can_forget(tmp_path: Path) -> None:
    points = blobs(40)
    model = SISA.fit(points, start=network(), folder=tmp_path / "a")
    read = SisaModel.load(tmp_path / "a" / ENSEMBLE, network())
    assert compared(read.weights(), model.weights(), 40).passed
    assert (read.settings, read.classes, read.ids.tolist()) == (SISA, 3, points.ids.tolist())
    cost = read.forget(points, [id_in(points, shard=1, part=1)]).cost
    assert cost.spent < cost.refit / 2  # It went on from the checkpoints.
    model.save(tmp_path / "alone.safetensors")
    alone = SisaModel.load(tmp_path / "alone.safetensors", network())
    assert alone.folder is None
    assert alone.forget(points, [10]).model.audit(points).passed


def test_another_first_network_is_refused(tmp_path: Path) -> None:
    points = blobs(40)
    SISA.fit(points, start=network(), folder=tmp_path)
    other = network()
    with torch.no_grad():
        other[0].bias += 1
    with pytest.raises(CheckpointError, match="from other first weights"):
        SisaModel.load(tmp_path / ENSEMBLE, other)
    with pytest.raises(CheckpointError, match="shards of another network"):
        SisaModel.load(tmp_path / ENSEMBLE, network(features=4))
    before = files(tmp_path)
    with pytest.raises(CheckpointError, match="other settings or first weights; give another"):
        SISA.fit(points, start=other, folder=tmp_path)
    with pytest.raises(CheckpointError, match="other settings or first weights"):
        dataclasses.replace(SISA, seed=1).fit(points, start=network(), folder=tmp_path)
    assert set(files(tmp_path)) >= set(before) - {ENSEMBLE}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointError, match="permission is denied"):
        SISA.fit(blobs(40), start=network(), folder=tmp_path)


def test_data_that_cannot_be_meant_is_named() -> None:
    points = blobs(40)
    inputs, labels = table_of(points)
    with pytest.raises(ConfigError, match="sisa trains networks; give `start`"):
        SISA.fit(points)
    with pytest.raises(ConfigError, match="there is no point"):
        SISA.fit(points_of(inputs[:0], labels[:0]), start=network())
    with pytest.raises(ConfigError, match="labels run from 0 to 2"):
        SISA.fit(points, start=network(), classes=2)
    with pytest.raises(ConfigError, match="the network has 2 outputs and there are 3 classes"):
        SISA.fit(points, start=network(classes=2))
    with pytest.raises(ConfigError, match="BatchNorm cannot train on one; give fewer shards"):
        SISA.fit(blobs(3), start=network(batchnorm=True))
    with pytest.raises(TrainingError, match="loss is nan"):
        SISA.fit(points_of(inputs * torch.nan, labels), start=network())
    model = SISA.fit(points, start=network())
    with pytest.raises(ConfigError, match="id 11 is not among"):
        model.forget(points, [11])
    with pytest.raises(ConfigError, match="all 40 points"):
        model.forget(points, points.ids.tolist())
    with pytest.raises(ConfigError, match="no id to forget"):
        model.forget(points, [])


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"shards": 0}, "shards is 0"),
        ({"slices": 0}, "slices is 0"),
        ({"aggregate": "median"}, "aggregate is 'median'"),
        ({"slices": 4}, "2 epochs are too few for 4 slices"),
    ],
)
def test_settings_are_checked(chosen: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        dataclasses.replace(SISA, **chosen)
