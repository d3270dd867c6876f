"""Thin factors out of a finished edit, by singular values, with the error of every layer."""

# o x d a layer's weight as a matrix, r the rank of its factors.

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Final

import torch
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import CheckpointError, ConfigError, Way
from erasure.lora.changes import Thin
from erasure.lora.layers import has_factors
from erasure.lora.reading import LoraFile
from erasure.solving.factors import Factors
from erasure.training.weights.low_rank import require_rank
from erasure.training.weights.selected import differing

_BEFORE: Final = Way("--base", "before")


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How thin the factors of a difference are; one of both."""

    rank: int | None = None
    """Directions a layer; a smaller layer has as many as its smaller side."""
    energy: float | None = None
    """Share of |difference|^2 that the factors of each layer hold at least, in (0, 1]."""

    def __post_init__(self) -> None:
        if (self.rank is None) == (self.energy is None):
            raise ConfigError(
                "a rank and an energy are two ways to say one thing; give one of them"
            )
        if self.rank is not None and self.rank < 1:
            raise ConfigError(f"rank is {self.rank}; give 1 or more")
        if self.energy is not None and not 0 < self.energy <= 1:
            raise ConfigError(f"energy is {self.energy}; give more than 0, at most 1")


@dataclass(frozen=True, slots=True, eq=False)
class Extraction:
    """Factors of a difference, and what they miss."""

    factors: Mapping[str, Mapping[str, Factors]]
    """Component -> name of a weight -> its factors, float64, with the root of the singular values
    on both sides."""
    errors: Mapping[str, float]
    """Name of a weight, of another component than the main one with that before it ->
    |difference - factors| / |difference|, Frobenius norms."""
    left_out: tuple[str, ...]
    """Weights that moved and have no factors: biases and norms."""
    error: float
    """The same error over all weights together, with those that are left out."""

    @property
    def worst(self) -> str:
        """The weight with the largest error."""
        return max(self.errors, key=lambda name: self.errors[name])

    @property
    def numbers(self) -> int:
        """How many numbers the factors hold."""
        every = [one for own in self.factors.values() for one in own.values()]
        return sum(one.up.numel() + one.down.numel() for one in every)


def extract(before: Checkpoint, after: Checkpoint, size: Size) -> Extraction:
    """The thin factors that are nearest to the difference of two models.

    They are not clamped: the clamp of the common extractors costs about 10 % of a difference that
    factors could hold exactly. Time: a singular value decomposition a layer, in float64.

    Args:
        before: the base.
        after: the edit of it; its main component and its text encoders are looked at.

    Raises:
        CheckpointError: the two are equal, differ in names, shapes or types, or no layer moved.
        ConfigError: the rank is above the size of every layer that moved.

    Source: the best approximation of a rank in the Frobenius norm is the cut singular value
        decomposition (Eckart and Young, 1936).
    """
    # Where a zero changed its sign alone, there is nothing to extract.
    changed = {(c, n): change for c, n, change in moved_in(before, after) if change.any()}
    able = {key: change for key, change in changed.items() if has_factors(key[1], change)}
    if not able:
        raise CheckpointError(
            "no linear or convolution layer differs between the two models, only biases and norms, "
            "which no LoRA holds; give ",
            Way("--to patch or --to diff", "them to save_patches or write_differences"),
        )
    called = {key: shown(after, *key) for key in changed}
    if size.rank is not None:
        require_rank(size.rank, {called[key]: tuple(c.shape) for key, c in able.items()})
    factors: dict[str, dict[str, Factors]] = {}
    errors = {}
    missed = total = 0.0
    for key, change in able.items():
        thin, lost, whole = cut(change.flatten(1), size)
        factors.setdefault(key[0], {})[key[1]] = thin
        errors[called[key]] = sqrt(lost / whole)
        missed, total = missed + lost, total + whole
    left = {called[key]: float(c.square().sum()) for key, c in changed.items() if key not in able}
    outside = sum(left.values())
    error = sqrt((missed + outside) / (total + outside))
    return Extraction(factors, errors, tuple(sorted(left)), error)


def as_written(
    extraction: Extraction,
    file: LoraFile,
    changes: Iterable[tuple[str, str, Tensor]],
    checkpoint: Checkpoint,
) -> Extraction:
    """The same with the errors of what a file holds of it, rounded to the type of its numbers.

    Args:
        file: that was written of the factors.
        changes: component, name and whole difference of each weight.
        checkpoint: whose weights they are.
    """
    errors, missed, total = {}, 0.0, 0.0
    for component, name, change in changes:
        stored = file.changes.get(component, {}).get(name)
        whole = lost = float(change.square().sum())
        if isinstance(stored, Thin) and whole:
            lost = float((change.flatten(1) - stored.factors.change()).square().sum())
            errors[shown(checkpoint, component, name)] = sqrt(lost / whole)
        missed, total = missed + lost, total + whole
    error = sqrt(missed / total) if total else 0.0
    return replace(extraction, errors=errors or extraction.errors, error=error)


def shown(checkpoint: Checkpoint, component: str, name: str) -> str:
    """What to call a weight: its name, with the component before it if that is not the main one."""
    return name if component == checkpoint.architecture.main else f"{component}.{name}"


def moved_in(before: Checkpoint, after: Checkpoint) -> Iterator[tuple[str, str, Tensor]]:
    """Component, name and difference of every weight that differs in any bit, float64.

    Raises:
        CheckpointError: the two are equal, or differ in family, names, shapes or types.
    """
    none = True
    for component in after.architecture.editable:
        old, new = (one.components.get(component, {}) for one in (before, after))
        shapes = [{n: (w.shape, w.dtype) for n, w in one.items()} for one in (old, new)]
        odd = sorted(n for n in {**shapes[0], **shapes[1]} if shapes[0].get(n) != shapes[1].get(n))
        if odd:
            raise CheckpointError(
                f"the {component} of the two models differs in {len(odd)} names, shapes or "
                f"types, {odd[0]} first; give the model that this one was made from as ",
                _BEFORE,
            )
        for name, weight in new.items():
            if bool(differing(old[name], weight).any()):
                none = False
                yield component, name, weight.double() - old[name].double()
    if none:
        raise CheckpointError(
            "the two models are equal, so there is nothing to write; give the model from before "
            "the erasure as ",
            _BEFORE,
        )


def shortened(factors: Factors, size: Size) -> tuple[Factors, float]:
    """Fewer directions of a product of thin factors, and |product - those| / |product|."""
    inner, lost, whole = cut(factors.change(), size)
    return inner, sqrt(lost / whole) if whole else 0.0


def cut(change: Tensor, size: Size) -> tuple[Factors, float, float]:
    """The factors of (o, d), the squares of what they miss, and those of the whole."""
    left, sizes, right = torch.linalg.svd(change, full_matrices=False)
    squares = sizes.square()
    whole = float(squares.sum())
    if size.rank is not None:
        rank = min(size.rank, len(sizes))
    else:
        assert size.energy is not None
        after = squares.flip(0).cumsum(0).flip(0) - squares  # what the first r + 1 miss
        rank = 1 + int((after > (1 - size.energy) * whole).sum())
    root = sizes[:rank].sqrt()
    factors = Factors(left[:, :rank] * root, root[:, None] * right[:rank])
    return factors, float(squares[rank:].sum()), whole
