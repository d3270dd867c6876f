"""Labelled samples in batches whose order, and whatever else is random in them, a seed decides."""

# N samples, B of them in a batch.

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    default_collate,
)

from erasure.classifiers.data.batch import Batch, Inputs, by_name, logits_of, map_inputs
from erasure.errors import ConfigError
from erasure.seeds import generator_for, seeded_torch
from erasure.setting_checks import require_counts
from erasure.storage.tensors.hashing import bytes_hash

__all__ = ["Batch", "Batches", "Inputs", "Loader", "joined", "logits_of", "map_inputs"]


class Loader(Protocol):
    """A `torch.utils.data.DataLoader`, or what looks like one; only these are read."""

    @property
    def dataset(self) -> Any: ...  # noqa: ANN401
    @property
    def batch_size(self) -> int | None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """Samples of a data set that can be indexed, the size of a batch, and where batches go.

    Every sample comes exactly once an epoch. A last batch of a single sample joins the one before
    it, since BatchNorm cannot train on one. Transforms in the data set that draw from torch's
    global stream find it seeded, for every batch anew.
    """

    dataset: Any
    """Has `len()` and gives for an index `(inputs, label)`, or a mapping that has `labels`."""
    batch_size: int = 256
    positions: Tensor | None = None
    """(N,), int64: which samples of the data set; None for all of them."""
    collate: Callable[[list[Any]], Any] = default_collate
    workers: int = 0
    """Processes that read; 0 reads in this one."""
    classes: int | None = None
    """Labels must lie below it; None does not look."""
    device: torch.device | None = None
    """Where batches are sent; None leaves them."""

    def __post_init__(self) -> None:
        require_counts(self, "batch_size")
        if not hasattr(self.dataset, "__getitem__") or not isinstance(self.dataset, Sized):
            raise ConfigError(
                f"{type(self.dataset).__name__} cannot be indexed or has no length; give a data "
                "set with both"
            )
        dataset: Any = self.dataset
        positions = self.positions
        while isinstance(dataset, Subset):  # One level, so that overlaps and tensors can be seen.
            inner = torch.as_tensor(dataset.indices, dtype=torch.int64)
            positions = inner if positions is None else inner[positions]
            dataset = dataset.dataset
        object.__setattr__(self, "dataset", dataset)
        object.__setattr__(self, "positions", positions)

    @classmethod
    def of(cls, loader: "Loader | Batches") -> "Batches":
        """The samples of a loader, without its order: that is drawn here, from a seed.

        Raises:
            ConfigError: the loader has no data set that can be indexed, no batch size, or a
                sampler that repeats or weighs samples.
        """
        if isinstance(loader, Batches):
            return loader
        if not hasattr(loader, "dataset"):
            raise ConfigError(
                f"{type(loader).__name__} is no loader; give a torch DataLoader over a data set "
                "of (inputs, label), or `Batches`"
            )
        groups = getattr(loader, "batch_sampler", None)
        size = loader.batch_size or getattr(groups, "batch_size", None)
        if size is None:
            raise ConfigError("the loader has no batch_size; give one to DataLoader, or `Batches`")
        data = cls(
            loader.dataset,
            size,
            collate=getattr(loader, "collate_fn", default_collate),
            workers=getattr(loader, "num_workers", 0),
        )
        chosen = _sampled(getattr(groups, "sampler", None))
        return data if chosen is None else data.subset(chosen)

    def __len__(self) -> int:
        """Samples, not batches."""
        return len(self.dataset) if self.positions is None else len(self.positions)

    def on(self, device: torch.device) -> "Batches":
        """The same, sent to `device` unless they are sent elsewhere already."""
        return self if self.device is not None else replace(self, device=device)

    def ordered(self) -> Iterator[Batch]:
        """Every sample once, in the order of the data set."""
        return self._read(torch.arange(len(self)), ("ordered",))

    def shuffled(self, *key: int | str) -> Iterator[Batch]:
        """Every sample once, in an order that only the key decides, such as `(seed, "ft", 3)`."""
        order = torch.randperm(len(self), generator=generator_for(*key, "order"))
        return self._read(order, key)

    def subset(self, index: Tensor) -> "Batches":
        """These samples of ours, in this order; int64 (n,), from 0 to N - 1."""
        return replace(self, positions=index if self.positions is None else self.positions[index])

    def labels(self) -> Tensor:
        """(N,), int64 on CPU, in the order of the data set; reads the samples if it has to."""
        if isinstance(self.dataset, TensorDataset):
            rows = slice(None) if self.positions is None else self.positions
            return self.dataset.tensors[-1][rows].cpu()
        parts = [batch.labels.cpu() for batch in self.ordered()]
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)

    @property
    def in_memory(self) -> bool:
        """Whether the samples are tensors, which are the same each time that they are looked at."""
        return isinstance(self.dataset, TensorDataset) and self.collate is default_collate

    def fingerprint(self) -> str:
        """Hash of the batch size and of every sample in memory; 64 hex digits.

        Of samples that have to be read, which may be many, it is that of `beginning`.
        """
        if not self.in_memory:
            return self.beginning()
        digest = hashlib.sha256(repr((len(self), self.batch_size)).encode())
        for batch in self._here().ordered():
            digest.update(_batch_hash(batch).encode())
        return digest.hexdigest()

    def beginning(self) -> str:
        """Hash of the number of samples, the batch size and the first batch; 64 hex digits."""
        first = next(self._here().ordered(), None)
        words = repr((len(self), self.batch_size, "" if first is None else _batch_hash(first)))
        return hashlib.sha256(words.encode()).hexdigest()

    def _here(self) -> "Batches":
        """The same, read by this process and sent nowhere."""
        return replace(self, workers=0, device=None)

    def _read(self, order: Tensor, key: tuple[int | str, ...]) -> Iterator[Batch]:
        index = _cut(order, self.batch_size)
        rows = [part if self.positions is None else self.positions[part] for part in index]
        if self.in_memory:
            tensors = self.dataset.tensors
            raw: Any = (tuple(tensor[part] for tensor in tensors) for part in rows)
        else:
            raw = DataLoader(
                self.dataset,
                batch_sampler=[part.tolist() for part in rows],
                collate_fn=self.collate,
                num_workers=self.workers,
                generator=generator_for(*key, "workers"),
            )
        stream = iter(raw)
        for number, part in enumerate(index):
            with seeded_torch(torch.device("cpu"), *key, "samples", number):
                samples = next(stream)
            yield self._checked(samples, part)

    def _checked(self, samples: Any, index: Tensor) -> Batch:  # noqa: ANN401
        inputs, labels = _split(samples)
        if labels.shape != index.shape or labels.is_floating_point() or labels.is_complex():
            raise ConfigError(
                f"labels have shape {tuple(labels.shape)} and type {labels.dtype}; give one whole "
                "number a sample, the index of its class"
            )
        if self.classes is not None and bool(((labels < 0) | (labels >= self.classes)).any()):
            raise ConfigError(
                f"labels run from {int(labels.min())} to {int(labels.max())} and the model has "
                f"{self.classes} outputs; give labels from 0 to {self.classes - 1}"
            )
        if self.device is not None:
            inputs = map_inputs(lambda value: value.to(self.device), inputs)
        return Batch(inputs, labels.to(self.device or labels.device, torch.int64), index)


def joined(first: Batches, second: Batches) -> Batches:
    """Both together, those of `first` at places 0 to len(first) - 1, else as `first`."""
    if first.dataset is second.dataset:
        places = [part.positions for part in (first, second)]
        ranges = [torch.arange(len(part)) for part in (first, second)]
        rows = [r if p is None else p for p, r in zip(places, ranges, strict=True)]
        return replace(first, positions=torch.cat(rows))
    views = [
        part.dataset if part.positions is None else Subset(part.dataset, part.positions.tolist())
        for part in (first, second)
    ]
    return replace(first, dataset=ConcatDataset(views), positions=None)


def _batch_hash(batch: Batch) -> str:
    return bytes_hash({"labels": batch.labels, **by_name(batch.inputs)})


def _sampled(sampler: object) -> Tensor | None:
    """The samples that a loader's sampler draws from, None for all."""
    if sampler is None or isinstance(sampler, SequentialSampler):
        return None
    if isinstance(sampler, SubsetRandomSampler):
        return torch.as_tensor(sampler.indices, dtype=torch.int64)
    if isinstance(sampler, RandomSampler) and not sampler.replacement:
        if sampler.num_samples == len(sampler.data_source):
            return None
    raise ConfigError(
        f"the loader draws its samples by {type(sampler).__name__}, and here each comes once an "
        "epoch; give a loader with shuffle or none, over a Subset where it should see a part"
    )


def _cut(order: Tensor, size: int) -> list[Tensor]:
    """`order` in batches of `size`, with no batch of one sample where that can be helped."""
    parts = list(order.split(size)) if len(order) else []
    if size > 1 and len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _split(samples: Any) -> tuple[Inputs, Tensor]:  # noqa: ANN401
    """(inputs, labels) of what a collate function returned."""
    if isinstance(samples, Mapping) and "labels" in samples:
        named = dict(samples)
        labels = named.pop("labels")
        inputs: Any = named
    elif isinstance(samples, (tuple, list)) and len(samples) > 1:
        *parts, labels = samples
        inputs = parts[0] if len(parts) == 1 else tuple(parts)
    else:
        raise ConfigError(
            f"a batch is one {type(samples).__name__} and has no labels; give a loader whose "
            "samples are (inputs, label)"
        )
    if isinstance(inputs, list):
        inputs = tuple(inputs)
    return inputs, torch.as_tensor(labels)
