"""Batches: every sample once, in an order that a seed decides, whatever the loader does."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_classifiers import CASES, Named, labels, loader
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from erasure.classifiers import Batch, Batches
from erasure.classifiers.data.batches import joined
from erasure.errors import ConfigError

TABLE = TensorDataset(torch.arange(20.0).view(10, 2), torch.arange(10) % 3)


class Slow(Dataset[Any]):
    """The same samples one by one, without a table behind them."""

    def __init__(self, table: TensorDataset = TABLE, shake: float = 0.0) -> None:
        self.table, self.shake = table, shake

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, n: int) -> tuple[Tensor, int]:
        x, y = self.table[n]
        return x + self.shake * torch.rand(()), int(y)


def together(batches: Iterator[Batch]) -> tuple[Tensor, Tensor, Tensor]:
    parts = list(batches)
    return (
        torch.cat([part.inputs for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.index for part in parts]),
    )


@given(count=st.integers(0, 40), size=st.integers(1, 12), seed=st.integers(0, 9))
def test_every_sample_comes_once_an_epoch(count: int, size: int, seed: int) -> None:
    data = Batches(TensorDataset(torch.arange(count), torch.zeros(count, dtype=torch.int64)), size)
    batches = list(data.shuffled(seed, "epoch"))
    index = torch.cat([batch.index for batch in batches]) if batches else torch.zeros(0)
    assert sorted(index.tolist()) == list(range(count))
    assert all(torch.equal(batch.inputs, batch.index) for batch in batches)
    lone = [batch for batch in batches if len(batch) == 1]
    assert len(batches) == (count == 1) if lone and size > 1 else True
    assert all(len(batch) <= size + 1 for batch in batches)


def test_a_key_decides_the_order_and_nothing_else_does() -> None:
    data = Batches(TABLE, 4)
    torch.manual_seed(1)
    first = together(data.shuffled(3, "ft", 0))
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again = together(data.shuffled(3, "ft", 0))
    other = together(data.shuffled(3, "ft", 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[2], other[2])
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("size", [1, 3, 10])
def test_a_table_and_a_slow_data_set_give_the_same_batches(size: int) -> None:
    fast, slow = Batches(TABLE, size), Batches(Slow(), size)
    for one, other in zip(fast.shuffled(1), slow.shuffled(1), strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.index, other.index)


def test_random_transforms_are_seeded_for_each_batch() -> None:
    data = Batches(Slow(shake=1.0), 4)
    torch.manual_seed(1)
    first = together(data.shuffled(3))[0]
    torch.manual_seed(2)
    assert torch.equal(together(data.shuffled(3))[0], first)
    assert not torch.equal(together(data.shuffled(4))[0].sort(0)[0], first.sort(0)[0])


def test_worker_processes_give_the_same_samples() -> None:
    data = DataLoader(Slow(), batch_size=4, num_workers=1)
    batches = Batches.of(data)
    assert batches.workers == 1
    assert torch.equal(together(batches.shuffled(1))[0], together(Batches(TABLE, 4).shuffled(1))[0])


def test_subsets_are_seen_through() -> None:
    inner = Subset(Subset(TABLE, [9, 7, 5, 3, 1]), [0, 2, 4])
    data = Batches.of(DataLoader(inner, batch_size=2))
    assert data.dataset is TABLE
    assert together(data.ordered())[1].tolist() == [9 % 3, 5 % 3, 1 % 3]
    assert data.labels().tolist() == [0, 2, 1]
    assert data.subset(torch.tensor([2, 0])).labels().tolist() == [1, 0]
    assert len(data) == 3


def test_labels_are_read_where_there_is_no_table() -> None:
    assert Batches(Slow(), 4).labels().tolist() == TABLE.tensors[1].tolist()


@pytest.mark.parametrize(
    "data",
    [
        DataLoader(TABLE, batch_size=3, shuffle=True, drop_last=True),
        DataLoader(TABLE, batch_size=3),
        DataLoader(TABLE, batch_sampler=BatchSampler(RandomSampler(TABLE), 3, False)),
    ],
)
def test_a_plain_loader_gives_all_its_samples(data: DataLoader[Any]) -> None:
    assert together(Batches.of(data).ordered())[2].tolist() == list(range(10))
    assert Batches.of(data).batch_size == 3


@pytest.mark.parametrize(
    "data",
    [
        DataLoader(TABLE, batch_size=3, sampler=SubsetRandomSampler([8, 2])),
        DataLoader(TABLE, batch_sampler=BatchSampler(SubsetRandomSampler([8, 2]), 3, False)),
    ],
)
def test_a_sampler_of_a_part_gives_that_part(data: DataLoader[Any]) -> None:
    assert Batches.of(data).labels().tolist() == [2, 2]
    assert together(Batches.of(data).ordered())[0].tolist() == [[16, 17], [4, 5]]


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from TABLE


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (DataLoader(TABLE, sampler=WeightedRandomSampler([1.0] * 10, 10)), "WeightedRandomSampler"),
        (DataLoader(TABLE, sampler=RandomSampler(TABLE, replacement=True)), "RandomSampler"),
        (DataLoader(TABLE, sampler=RandomSampler(TABLE, num_samples=4)), "RandomSampler"),
        (DataLoader(TABLE, batch_sampler=[[0, 1], [2, 3]]), "no batch_size"),
        (DataLoader(TABLE, batch_size=None), "no batch_size"),
        (DataLoader(Endless()), "Endless cannot be indexed or has no length"),
        ([(torch.zeros(2, 2), torch.zeros(2))], "list is no loader"),
    ],
)
def test_a_loader_that_cannot_be_followed_is_refused(data: Any, said: str) -> None:  # noqa: ANN401
    with pytest.raises(ConfigError, match=said):
        Batches.of(data)


X = torch.zeros(4, 2)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (TensorDataset(X), "has no labels; give a loader whose samples are"),
        (list(X), "has no labels; give a loader whose samples are"),
        (TensorDataset(X, torch.zeros(4)), r"type torch.float32; give one whole number a sample"),
        (TensorDataset(X, torch.zeros(4, 3).long()), r"shape \(4, 3\)"),
        (TensorDataset(X, torch.tensor([0, 1, 2, 3])), "from 0 to 3 and the model has 3 outputs"),
        (TensorDataset(X, torch.tensor([0, 1, -1, 2])), "from -1 to 2 and the model has 3 outputs"),
    ],
)
def test_labels_that_are_none_are_refused(data: Any, said: str) -> None:  # noqa: ANN401
    with pytest.raises(ConfigError, match=said):
        list(Batches(data, 4, classes=3).ordered())


def test_inputs_may_be_several_or_named() -> None:
    pairs = [((torch.ones(2), torch.zeros(3)), 1), ((torch.ones(2), torch.zeros(3)), 0)]
    (batch,) = Batches(pairs).ordered()
    assert isinstance(batch.inputs, tuple)
    assert [part.shape for part in batch.inputs] == [(2, 2), (2, 3)]
    (flat,) = Batches([(*pair[0], pair[1]) for pair in pairs]).ordered()
    assert [part.shape for part in flat.inputs] == [(2, 2), (2, 3)]
    words = {"input_ids": torch.ones(4, 5), "attention_mask": torch.ones(4, 5)}
    (named,) = Batches(Named(words, labels(4, 0))).ordered()
    rows = [{name: value[n] for name, value in words.items()} | {"labels": 1} for n in range(4)]
    (inside,) = Batches(rows).ordered()
    for form in (named, inside):
        assert {name: value.shape for name, value in form.inputs.items()} == {
            "input_ids": (4, 5),
            "attention_mask": (4, 5),
        }
    assert inside.labels.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("apart", [True, False])
def test_joined_sets_keep_their_places(apart: bool) -> None:
    first = Batches(Subset(TABLE, [1, 2, 3]), 4)
    other = TensorDataset(*TABLE.tensors) if apart else TABLE
    second = Batches(Subset(other, [7, 8]), 2)
    both = joined(first, second)
    inputs, labels, index = together(both.shuffled(1))
    assert len(both) == 5
    assert both.batch_size == 4
    source = torch.tensor([1, 2, 3, 7, 8])[index]
    assert torch.equal(inputs[:, 0], 2.0 * source)
    assert torch.equal(labels, source % 3)


def test_the_fingerprint_tells_data_sets_apart() -> None:
    prints = {
        Batches.of(CASES["mlp"].forget).fingerprint(),
        Batches.of(CASES["mlp"].retain).fingerprint(),
        Batches.of(CASES["text"].forget).fingerprint(),
        Batches.of(loader((6,), 7, 0, size=5)).fingerprint(),
        Batches(TABLE).fingerprint(),
        Batches(TABLE).subset(torch.arange(9)).fingerprint(),
        Batches(TABLE).subset(torch.arange(0)).fingerprint(),
    }
    assert len(prints) == 7
    assert Batches(TABLE).fingerprint() in prints


def test_the_fingerprint_of_tensors_holds_every_sample() -> None:
    inputs, labels = (tensor.clone() for tensor in TABLE.tensors)
    whole = Batches(TABLE, 4)
    assert Batches(TensorDataset(inputs, labels), 4).fingerprint() == whole.fingerprint()
    inputs[-1, 0] += 1
    other = Batches(TensorDataset(inputs, labels), 4)
    assert other.beginning() == whole.beginning()
    assert other.fingerprint() != whole.fingerprint()
    relabelled = TensorDataset(TABLE.tensors[0], labels.roll(1))
    assert Batches(relabelled, 4).fingerprint() != whole.fingerprint()


def test_a_batch_needs_a_size() -> None:
    with pytest.raises(ConfigError, match="batch_size is 0; give 1 or more"):
        Batches(TABLE, 0)
