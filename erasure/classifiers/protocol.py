"""What a method of forgetting is, what it is given, and what comes out."""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from erasure.classifiers.data.batches import Batch, Batches, logits_of
from erasure.classifiers.data.training_recipe import TrainingRecipe
from erasure.classifiers.descent import Descent, Losses, descend
from erasure.classifiers.progress import Progress
from erasure.classifiers.weights import BatchNormPolicy
from erasure.masks.masks import SaliencyMask
from erasure.training.step import Step

T = TypeVar("T")
Need = Literal["recipe", "per-sample-gradients", "own-training"]
"""What a method cannot do without: how the model was trained (`training`), a model that torch.func
can differentiate sample by sample, or a model that the method itself has trained."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Task:
    """One model, what it should forget and what it should keep; made by `unlearn`."""

    model: nn.Module
    """Changed in place."""
    forget: Batches
    """On `device`, labels checked."""
    retain: Batches
    """On `device`, labels checked."""
    classes: int
    """Outputs of the model."""
    device: torch.device
    mask: SaliencyMask | None = None
    """The weights that may move; None for all."""
    seed: int = 0
    training: TrainingRecipe | None = None
    """How the model was trained."""
    build: Callable[[], nn.Module] | None = None
    """Makes an untrained model; only methods that train from scratch ask for it."""
    batchnorm: BatchNormPolicy = "update"
    progress: Progress | None = None
    """Where the last whole epoch is kept."""
    memo: dict[str, Any] | None = None
    """What methods have computed of this very model, data and seed, by what decides it; None keeps
    nothing. It is for a search whose trials differ only in what is done with that afterwards."""

    def remembered(self, key: str, make: Generator[float, None, T]) -> Generator[float, None, T]:
        """What `make` returns, or has returned for another trial under this key.

        Args:
            key: all the settings of a method that decide it; the model, data and seed are the
                task's own.
        """
        if self.memo is None:
            return (yield from make)
        if key not in self.memo:
            self.memo[key] = yield from make
        value: T = self.memo[key]
        return value

    def logits(self, batch: Batch) -> Tensor:
        """The model's answers, (B, classes), float32 or wider."""
        return logits_of(self.model, batch.inputs)

    def descend(
        self,
        settings: Descent,
        losses: Losses,
        *,
        extra: nn.Module | None = None,
        after_step: Callable[[Mapping[str, Tensor], int], None] | None = None,
    ) -> Iterator[Step]:
        """`erasure.classifiers.descent.descend` of this model, mask, policy and seed."""
        return descend(
            self.model,
            settings,
            losses,
            seed=self.seed,
            mask=self.mask,
            batchnorm=self.batchnorm,
            progress=self.progress,
            extra=extra,
            after_step=after_step,
        )


class Method(Protocol):
    """How to forget: a small frozen value that owns settings, never weights or devices."""

    name: ClassVar[str]
    """Key into `erasure.classifiers.METHODS`."""
    source: ClassVar[str]
    """Where it comes from: arXiv id and equation."""
    needs: ClassVar[frozenset[Need]]

    def steps(self, task: Task, /) -> Iterator[Step]:
        """Change `task.model` in place, yielding as it goes; done when the iterator ends."""
        ...


@runtime_checkable
class MaskMaking(Protocol):
    """A method that comes with a mask of its own, used where `unlearn` is given none."""

    def make_mask(self, task: Task, /) -> SaliencyMask:
        """The weights that may move; the task is not changed."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Unlearned:
    """A model after forgetting."""

    model: nn.Module
    """A new one in evaluation mode; the one given to `unlearn` is untouched."""
    method: Method
    seconds: float
    """Wall time of the method and of its own mask; where a run was continued, that of the whole
    epochs that were there too."""
    steps: tuple[Step, ...]
    mask: SaliencyMask | None
    """The weights that could move; None where all could."""
    unselected_identical: bool | None
    """Whether every weight outside the mask has the bits it had; None without a mask."""
    moved: int
    """How many weights have other bits than before."""
