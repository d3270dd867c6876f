"""How the classifier was trained, and training by it: what retraining from scratch needs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from erasure.classifiers.data.batches import Batches, logits_of
from erasure.classifiers.descent import Descent, descend
from erasure.classifiers.progress import Progress, run_hash
from erasure.errors import ConfigError
from erasure.setting_checks import require_counts
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRecipe(Descent):
    """Cross-entropy training; the defaults are those of SalUn's release on CIFAR-10."""

    epochs: int = 182
    lr: float = 0.1
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    batch_size: int = 256
    label_smoothing: float = 0.0
    """Share of the label that is spread over all classes, in [0, 1)."""

    def __post_init__(self) -> None:
        Descent.__post_init__(self)
        require_counts(self, "batch_size")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}; give 0 to below 1")


def train_classifier(
    model: nn.Module,
    data: Batches,
    recipe: TrainingRecipe,
    seed: int,
    state: Path | None = None,
) -> Iterator[Step]:
    """Train a model in place, from the weights it has, yielding after every step.

    The model, the data, the recipe and the seed decide the result, to the bit on a CPU.

    Args:
        model: a classifier with the weights to start from.
        data: cut by `recipe.batch_size`; sent to the model's device unless it names one.
        recipe: how long, how fast and with which optimiser.
        seed: of the order of the samples.
        state: file that keeps the last whole epoch; where it exists, the run continues from it,
            and first yields the steps that it holds.

    Raises:
        TrainingError: the loss is not finite, or `state` belongs to another run.

    Examples:
        >>> data = Batches(TensorDataset(torch.randn(12, 4), torch.arange(12) % 3))
        >>> recipe = TrainingRecipe(epochs=2, batch_size=4)
        >>> len(list(train_classifier(torch.nn.Linear(4, 3), data, recipe, seed=0)))
        6
    """
    progress = None
    if state is not None:
        progress = Progress(state, run_hash(model, repr(recipe), str(seed), data.fingerprint()))
    losses = training_losses(model, data, recipe, seed)
    yield from descend(model, recipe, losses, seed=seed, progress=progress)


def training_losses(
    model: nn.Module, data: Batches, recipe: TrainingRecipe, seed: int
) -> Callable[[int], Iterator[Tensor]]:
    """The losses of an epoch of training; see `train_classifier`."""
    data = replace(data, batch_size=recipe.batch_size).on(next(model.parameters()).device)

    def losses(epoch: int) -> Iterator[Tensor]:
        for batch in data.shuffled(seed, "train", epoch):
            logits = logits_of(model, batch.inputs)
            yield F.cross_entropy(logits, batch.labels, label_smoothing=recipe.label_smoothing)

    return losses
