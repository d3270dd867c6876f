"""Training samples under ids that stay, so that one of them can be asked to leave."""

# N samples with D features each.

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from erasure.classifiers.data.batches import Batches, Loader
from erasure.errors import ConfigError

_ROWS: Final = 4096
"""Samples that are hashed together."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """All samples in memory, a row each, in ascending order of their ids."""

    features: NDArray[np.float64]
    """(N, D), finite."""
    labels: NDArray[np.int64]
    """(N,), from 0 to the number of classes - 1."""
    ids: NDArray[np.int64]
    """(N,)"""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Labelled samples, each with an id that it keeps when others leave."""

    samples: Batches
    ids: Tensor
    """(N,), int64, ascending: that of each sample of `samples`."""

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.samples):
            raise ConfigError(
                f"{len(self.ids)} ids are given for {len(self.samples)} samples; give one each"
            )
        if len(self.ids) and (int(self.ids.min()) < 0 or bool((self.ids.diff() <= 0).any())):
            raise ConfigError("ids repeat, are negative or in disorder; use `Points.of` to sort")

    @classmethod
    def of(cls, loader: Loader | Batches, ids: Sequence[int] | Tensor | None = None) -> "Points":
        """The samples of a loader; the order in which they come does not matter.

        Args:
            ids: whole numbers from 0, all different; None takes the place in the data set, which
                a sample keeps where others are left out by a `Subset`.

        Raises:
            ConfigError: an id comes twice, is negative, or there are more or fewer than samples.
        """
        samples = Batches.of(loader)
        if ids is None:
            own = samples.positions
            ids = torch.arange(len(samples)) if own is None else own
        named = torch.as_tensor(ids, dtype=torch.int64)
        if len(named) != len(samples):
            return cls(samples, named)  # Raises, with the numbers.
        order = named.argsort(stable=True)
        repeated = named[order][1:][named[order].diff() == 0]
        if len(repeated):
            raise ConfigError(f"id {int(repeated[0])} is given twice; give each sample its own")
        return cls(samples.subset(order), named[order])

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, ids: Tensor) -> "Points":
        """The samples with these ids, (n,) int64.

        Raises:
            ConfigError: one of them is not among ours.
        """
        missing = ids[~torch.isin(ids, self.ids)]
        if len(missing):
            raise ConfigError(
                f"{_listed(missing)} not among the {len(self)} points given; give the data that "
                "the model was trained on"
            )
        return self._where(torch.isin(self.ids, ids))

    def without(self, gone: Iterable[int]) -> "Points":
        """All but those with these ids.

        Raises:
            ConfigError: none is named, one is not among ours, or none would be left.
        """
        leaving = torch.tensor(sorted(set(gone)), dtype=torch.int64)
        if not len(leaving):
            raise ConfigError("no id to forget is given; give at least one")
        unknown = leaving[~torch.isin(leaving, self.ids)]
        if len(unknown):
            raise ConfigError(
                f"{_listed(unknown)} not among the {len(self)} points of the model: never trained "
                "on, or forgotten before; leave out"
            )
        if len(leaving) == len(self):
            raise ConfigError(
                f"all {len(self)} points are to be forgotten and none is left to train on; delete "
                "the model instead"
            )
        return self._where(~torch.isin(self.ids, leaving))

    def labels_below(self, classes: int | None) -> int:
        """The number of classes: `classes`, checked, or else one more than the largest label.

        Raises:
            ConfigError: there is no point, or a label is outside the range.
        """
        if not len(self):
            raise ConfigError("there is no point to train on; give at least one")
        labels = self.samples.labels()
        low, high = int(labels.min()), int(labels.max())
        known = high + 1 if classes is None else classes
        if low < 0 or high >= known:
            raise ConfigError(
                f"labels run from {low} to {high}; give labels from 0 to {known - 1}, or the right "
                "number of classes"
            )
        return known

    def marks(self) -> tuple[str, ...]:
        """A hash of each sample, input and label, by which a file knows it again; (N,).

        None at all where samples have to be read: a transform may draw them anew each time.
        """
        if not self.samples.in_memory:
            return ()
        tensors, rows = self.samples.dataset.tensors, self.samples.positions
        places = torch.arange(len(self)) if rows is None else rows
        return tuple(mark for part in places.split(_ROWS) for mark in _hashes(tensors, part))

    def table(self) -> Table:
        """Read every sample; inputs of more than one dimension are flattened.

        Raises:
            ConfigError: inputs are several tensors, differ in size, or are not finite.
        """
        rows, labels = [], []
        for batch in self.samples.ordered():
            if not isinstance(batch.inputs, Tensor):
                raise ConfigError(
                    "each sample is several tensors and this method takes one row of numbers; "
                    "give features, such as those of `frozen_features`"
                )
            rows.append(batch.inputs.detach().flatten(1).to("cpu", torch.float64))
            labels.append(batch.labels.cpu())
        features = torch.cat(rows).numpy()
        if not np.isfinite(features).all():
            row = int((~np.isfinite(features)).any(1).argmax())
            raise ConfigError(
                f"point {int(self.ids[row])} has a feature that is not finite; repair or leave out"
            )
        return Table(features, torch.cat(labels).numpy(), self.ids.numpy())

    def _where(self, chosen: Tensor) -> "Points":
        places = chosen.nonzero().flatten()
        return replace(self, samples=self.samples.subset(places), ids=self.ids[places])


def _hashes(tensors: Sequence[Tensor], rows: Tensor) -> list[str]:
    parts = [tensor[rows].detach().cpu().contiguous() for tensor in tensors]
    kinds = repr([(part.dtype, part.shape[1:]) for part in parts]).encode()
    wide = [part.reshape(len(rows), math.prod(part.shape[1:])) for part in parts]
    raw = [part.view(torch.uint8).numpy() for part in wide]
    return [
        hashlib.sha256(kinds + b"".join(part[row].tobytes() for part in raw)).hexdigest()
        for row in range(len(rows))
    ]


def _listed(ids: Tensor) -> str:
    """`id 3 is`, or `ids 3, 5, 8 and 12 more are`."""
    if len(ids) == 1:
        return f"id {int(ids[0])} is"
    shown = ", ".join(str(int(i)) for i in ids[:3])
    more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    return f"ids {shown}{more} are"
