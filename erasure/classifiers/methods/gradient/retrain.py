"""Retraining: the model that has never seen the forget data, which every other method aims at."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from erasure.classifiers.data.fresh import fresh_model
from erasure.classifiers.data.training_recipe import training_losses
from erasure.classifiers.descent import descend
from erasure.classifiers.protocol import Need, Task
from erasure.errors import ConfigError
from erasure.training.step import Step


@dataclass(frozen=True, slots=True)
class Retrain:
    """Train a fresh model on the retain data, as the original was trained.

    Exact by definition, and the gold standard of the others. Running statistics start fresh too,
    so they follow the batches whatever the policy, and a mask makes no sense.

    Source: arXiv:2310.12508, "Retrain".
    """

    name: ClassVar[str] = "retrain"
    source: ClassVar[str] = "arXiv:2310.12508, Retrain"
    needs: ClassVar[frozenset[Need]] = frozenset({"recipe"})

    def steps(self, task: Task, /) -> Iterator[Step]:
        """One step a batch of retain data."""
        if task.mask is not None:
            raise ConfigError("retraining starts from fresh weights, so none can be kept; no mask")
        assert task.training is not None
        model = task.model
        model.load_state_dict(fresh_model(model, task.seed, task.build).state_dict())
        losses = training_losses(model, task.retain, task.training, task.seed)
        yield from descend(model, task.training, losses, seed=task.seed, progress=task.progress)
