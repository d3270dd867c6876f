"""Training of one shard, stage by stage."""

import copy
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from erasure.classifiers.data.batch import logits_of
from erasure.classifiers.data.batches import Batches
from erasure.classifiers.data.training_recipe import TrainingRecipe, train_classifier
from erasure.classifiers.exact.sisa.sisa_plan import Stage
from erasure.classifiers.exact.sisa.sisa_store import SisaStore
from erasure.classifiers.progress import kept_seconds
from erasure.errors import ConfigError
from erasure.seeds import derived_seed


def train_shard(
    start: nn.Module,
    samples: Batches,
    stages: Sequence[Stage],
    done: int,
    *,
    recipe: TrainingRecipe,
    seed: int,
    store: SisaStore | None,
) -> nn.Module | None:
    """Take a shard through the stages that are not done.

    Args:
        start: first weights; stays as it is.
        samples: of all shards.
        stages: all of this shard.
        done: how many of them the store holds.

    Returns:
        The network in evaluation mode; None where no point belongs to the shard.

    Raises:
        ConfigError: a stage has a single point and the network has BatchNorm.
        TrainingError: a loss is not finite.
        CheckpointError: a file is damaged.
    """
    model = copy.deepcopy(start)
    if done and store is not None:
        model.load_state_dict(store.load(stages[done - 1]))
    for stage in stages[done:]:
        begun = time.perf_counter()
        earlier = 0.0 if store is None else kept_seconds(store.partial(stage))
        if len(stage.members):
            _require_batch(model, stage)
            steps = train_classifier(
                model,
                samples.subset(stage.members),
                replace(recipe, epochs=stage.epochs),
                derived_seed(seed, "sisa", stage.shard, stage.part),
                None if store is None else store.partial(stage),
            )
            for _ in steps:
                pass
        if store is not None:
            store.save(stage, model.state_dict())
            store.add_seconds(earlier + time.perf_counter() - begun)
    return frozen(model) if len(stages[-1].members) else None


def frozen(model: nn.Module) -> nn.Module:
    """The model itself, in evaluation mode, none of its weights trainable."""
    return model.eval().requires_grad_(False)


@torch.no_grad()
def require_outputs(model: nn.Module, samples: Batches, classes: int) -> None:
    """Raises ConfigError where a network has fewer outputs than there are classes."""
    device = next(model.parameters()).device
    first = replace(samples.subset(torch.zeros(1, dtype=torch.int64)), device=device)
    probe = copy.deepcopy(model).eval()
    outputs = logits_of(probe, next(first.ordered()).inputs).shape[1]
    if outputs < classes:
        raise ConfigError(
            f"the network has {outputs} outputs and there are {classes} classes; give as many "
            "outputs"
        )


def _require_batch(model: nn.Module, stage: Stage) -> None:
    if len(stage.members) == 1 and any(isinstance(m, _BatchNorm) for m in model.modules()):
        raise ConfigError(
            f"shard {stage.shard} has one point up to slice {stage.part}, and BatchNorm cannot "
            "train on one; give fewer shards or slices"
        )
