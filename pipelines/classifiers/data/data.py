"""Labelled data for a classifier: from a source, a seeded part to train, hold out and test."""

# N examples.

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from erasure.classifiers.data.batches import Batches
from erasure.errors import ConfigError
from erasure.seeds import generator_for
from pipelines.classifiers.data.folder_data import picture_folder
from pipelines.classifiers.data.hub_data import HUB_SOURCES
from pipelines.classifiers.data.icon_data import icons
from pipelines.classifiers.data.idx_data import fashion_mnist, mnist
from pipelines.classifiers.data.raw_data import Kind, RawData, RawSet, Source
from pipelines.classifiers.data.table_data import TABLES
from pipelines.classifiers.data.text_data import docstrings, fortunes
from prompts.nearest import nearest

SOURCES: Final[Mapping[str, Source]] = {
    "fashion-mnist": fashion_mnist,
    "icons": icons,
    **HUB_SOURCES,
    "mnist": mnist,
    "folder": picture_folder,
    **TABLES,
    "docstrings": docstrings,
    "fortunes": fortunes,
}
"""Name -> how to read it; `fashion-mnist` to `icons`, tables and texts need no network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Which examples; plain values, kept in every model file."""

    name: str = "fashion-mnist"
    """Key into `SOURCES`."""
    path: str | None = None
    """Where the data lie, if not where they usually do."""
    train: int = 10_000
    """Examples to train on, or all that there are if fewer; 0 for all."""
    held_out: int = 2_000
    """Further examples of the training part, for tuning; at most a fifth of them."""
    test: int = 5_000
    """Examples to test on; 0 for all."""
    seed: int = 0
    """Which examples these are; not the seed of a run."""

    def __post_init__(self) -> None:
        if self.name not in SOURCES:
            raise ConfigError(f"there is no data set {self.name!r}; {nearest(self.name, SOURCES)}")
        for name in ("train", "held_out", "test"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give 0 or more examples")


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What a model must know of its data; kept in its file."""

    kind: Kind
    shape: tuple[int, ...]
    """Shape of one example's first tensor: (C, H, W), (features,) or (tokens,)."""
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    """Mean of the training part, by channel or feature; empty for text."""
    deviation: tuple[float, ...]
    """Likewise; 1 where a feature never changes."""
    vocabulary: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierData:
    """Three disjoint sets: images in [0, 1], tables as they are, text as token ids and masks."""

    config: DataConfig
    facts: DataFacts
    train: TensorDataset
    held_out: TensorDataset
    test: TensorDataset
    origin: str
    fingerprint: str
    """Hash of every example of the training part, 32 hex digits."""
    judging_fingerprint: str
    """The same of what models are judged by: the part held out, and the test part."""

    @property
    def labels(self) -> Tensor:
        """Labels of the training part, (N,)."""
        return self.train.tensors[-1]


def load_data(config: DataConfig) -> ClassifierData:
    """Read a source and draw the three sets from it, each class in the share the source has.

    Raises:
        ConfigError: the source is not there, is too small, or has a label without a class.
    """
    raw = SOURCES[config.name](Path(os.path.expanduser(config.path)) if config.path else None)
    train, test = raw.train, raw.test
    _require_known(config.name, raw)
    if test is None:
        cut = _stratified(train.labels, len(train) // 5, config.seed, "test")
        train, test = train.subset(_others(cut, len(train))), train.subset(cut)
    if config.test and config.test < len(test):
        test = test.subset(_stratified(test.labels, config.test, config.seed, "test"))
    held = _stratified(train.labels, min(config.held_out, len(train) // 5), config.seed, "held out")
    held_out, train = train.subset(held), train.subset(_others(held, len(train)))
    if config.train and config.train < len(train):
        train = train.subset(_stratified(train.labels, config.train, config.seed, "train"))
    if len(train) < 2 or not len(test) or not len(raw.classes) > 1:
        raise ConfigError(
            f"{config.name} gives {len(train)} examples to train, {len(test)} to test and "
            f"{len(raw.classes)} classes; it needs 2, 1 and 2 at least"
        )
    made, unseen = _dataset(train, raw), (_dataset(held_out, raw), _dataset(test, raw))
    return ClassifierData(
        config=config,
        facts=_facts(made, raw),
        train=made,
        held_out=unseen[0],
        test=unseen[1],
        origin=raw.origin,
        fingerprint=_fingerprint(made),
        judging_fingerprint=_fingerprint(*unseen),
    )


def _require_known(name: str, raw: RawData) -> None:
    for half in (raw.train, raw.test):
        if half is None or not len(half):
            continue
        low, high = int(half.labels.min()), int(half.labels.max())
        if low < 0 or high >= len(raw.classes):
            raise ConfigError(
                f"the labels of {name} run from {low} to {high} and there are {len(raw.classes)} "
                "classes; give data in which every example has one of them"
            )


def batches(dataset: TensorDataset, positions: Tensor | None = None, size: int = 256) -> Batches:
    """Examples of a set, or all, for the methods of `erasure.classifiers`."""
    return Batches(dataset, size, positions=positions)


def _dataset(half: RawSet, raw: RawData) -> TensorDataset:
    inputs = half.inputs
    if raw.kind == "image":
        inputs = (inputs[0].float() / 255,)
    return TensorDataset(*inputs, half.labels)


def _fingerprint(*parts: TensorDataset) -> str:
    digest = hashlib.sha256()
    for tensor in (tensor for part in parts for tensor in part.tensors):
        digest.update(f"{list(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _facts(train: TensorDataset, raw: RawData) -> DataFacts:
    first = train.tensors[0]
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    if raw.kind != "text":
        over = (0, 2, 3) if raw.kind == "image" else (0,)
        spread = first.std(dim=over, correction=0)
        mean = tuple(first.mean(dim=over).tolist())
        deviation = tuple(torch.where(spread > 0, spread, 1.0).tolist())
    shape = tuple(first.shape[1:])
    return DataFacts(raw.kind, shape, raw.classes, mean, deviation, raw.vocabulary)


def _stratified(labels: Tensor, count: int, seed: int, what: str) -> Tensor:
    """`count` positions, ascending; every class in its share, to within one example."""
    order = torch.randperm(len(labels), generator=generator_for(seed, "examples", what))
    # Number the examples of each class in random order, then take the first of all classes.
    turn = torch.empty(len(labels), dtype=torch.float64)
    shuffled = labels[order]
    for label in shuffled.unique():
        members = order[shuffled == label]
        turn[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    ranked = order[turn[order].argsort(stable=True)]
    return ranked[:count].sort().values


def _others(chosen: Tensor, total: int) -> Tensor:
    left = torch.ones(total, dtype=torch.bool)
    left[chosen] = False
    return left.nonzero()[:, 0]
