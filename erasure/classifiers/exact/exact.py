"""Models that can forget exactly: what each must offer, so that one command drives them all."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from erasure.classifiers.data.batch import Inputs
from erasure.classifiers.exact.points import Points
from erasure.storage.tensors.hashing import bytes_hash

OnProgress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


def tell_done(on_progress: OnProgress | None) -> None:
    """Say of work that has one part that it is done."""
    if on_progress is not None:
        on_progress(1, 1)


M = TypeVar("M", covariant=True)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a deletion took, beside what training again would have taken."""

    unit: str
    """What is counted, such as `sample-epochs`."""
    spent: int
    refit: int

    @property
    def saved(self) -> float:
        """Share of the cost of training again that was not needed, from 0 to 1."""
        return 1 - self.spent / self.refit if self.refit else 0.0

    def __str__(self) -> str:
        return f"{self.spent:,} of {self.refit:,} {self.unit}, {100 * self.saved:.1f} % saved"


@dataclass(frozen=True, slots=True)
class Deletion(Generic[M]):
    """A model without some points; the one it was made from is as it was."""

    model: M
    forgotten: int
    """How many points left."""
    cost: Cost
    statement: str
    """What may now be said of the points that left, in words."""
    details: Mapping[str, float] = field(default_factory=dict)
    """Further numbers of the method, by name."""


@dataclass(frozen=True, slots=True)
class Audit:
    """Whether what a model claims of the points that left could be confirmed, and what was looked
    at: bytes of a second training, a gradient, or an accounting alone; the statement says which."""

    passed: bool
    statement: str
    """What was compared, and what came out, in words."""
    differing: tuple[str, ...] = ()
    """Tensors that are not what they should be."""

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}: {self.statement}"


def compared(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], points: int) -> Audit:
    """Compare names, types, shapes and bytes of what is there and of what training again gave.

    Args:
        points: how many it was trained on, the second time.
    """
    differing = tuple(
        name
        for name in sorted({*weights, *wanted})
        if name not in weights or name not in wanted or not _same(weights[name], wanted[name])
    )
    if not differing:
        return Audit(
            True,
            f"equal to training on the remaining {points:,} points alone, byte for byte "
            f"(SHA-256 {bytes_hash(weights)[:16]})",
        )
    shown = ", ".join(differing[:3]) + (", ..." if len(differing) > 3 else "")
    return Audit(
        False,
        f"{len(differing)} of {len(wanted)} tensors differ from training on the remaining "
        f"{points:,} points alone: {shown}",
        differing,
    )


class ExactModel(Protocol):
    """Trained, and able to forget; a frozen value."""

    @property
    def ids(self) -> Tensor:
        """(N,), int64, ascending: the points that it was trained on and has not forgotten."""
        ...

    @property
    def classes(self) -> int: ...

    def forget(
        self, points: Points, gone: Iterable[int], /, on_progress: OnProgress | None = None
    ) -> "Deletion[ExactModel]":
        """A model without the points `gone`.

        Args:
            points: hold all `ids`, those that shall leave included; others are not looked at.

        Raises:
            ConfigError: an id is unknown, none is given, or no point would be left.
        """
        ...

    def refit(self, points: Points, /, on_progress: OnProgress | None = None) -> "ExactModel":
        """Train again from the beginning, on all of `points`, as this was trained."""
        ...

    def audit(self, points: Points, /, on_progress: OnProgress | None = None) -> Audit:
        """Check what `forget` claims, as far as the method allows it; at most a refit's time.

        SISA and forests train again and compare bytes, a certified head measures the gradient that
        is left, DP-SGD accounts for its recorded steps again and sees nothing of its weights.

        Args:
            points: hold all `ids`; others are not looked at.

        Raises:
            ConfigError: some of `ids` are missing.
        """
        ...

    def predict_proba(self, inputs: Inputs, /) -> Tensor:
        """Probabilities, (B, classes), float, rows of sum 1."""
        ...

    def weights(self) -> Mapping[str, Tensor]:
        """Everything that was learned, on CPU."""
        ...

    def save(self, path: Path, /) -> None:
        """Write safetensors, atomically; no point that was forgotten is named in it.

        Raises:
            DiskError: the disk refuses.
        """
        ...


class ExactMethod(Protocol):
    """Settings of one method; a small frozen value."""

    name: ClassVar[str]
    """Key into `EXACT`."""
    source: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    """What `fit` must be given beside the points: of {"start", "folder"}."""

    def fit(
        self,
        points: Points,
        /,
        *,
        classes: int | None = None,
        start: nn.Module | None = None,
        folder: Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> ExactModel:
        """Train on all points.

        Args:
            classes: None takes one more than the largest label.
            start: untrained network, for methods that train one; it stays as it is.
            folder: where a method that keeps checkpoints may put them.

        Raises:
            ConfigError: there is no point, labels are out of range, or something is missing.
        """
        ...


def counted(on_progress: OnProgress | None, total: int) -> Callable[[], None]:
    """A function to call after each of `total` parts."""
    done = itertools.count(1)
    return lambda: on_progress(next(done), total) if on_progress else None


def _same(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    flat = [t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in (one, other)]
    return torch.equal(*flat)
