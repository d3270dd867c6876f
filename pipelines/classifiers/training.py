"""Train a classifier, and let one forget: a model and the record that goes into its file."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from erasure.classifiers import (
    Batches,
    Method,
    Step,
    TrainingRecipe,
    Unlearned,
    classifier_saliency,
    train_classifier,
    unlearn,
)
from erasure.classifiers.progress import kept_seconds
from erasure.masks.masks import SaliencyMask, inverse_mask, random_mask, salient_mask
from erasure.seeds import generator_for
from erasure.storage.tensors.hashing import weights_hash
from pipelines.classifiers.bench.presets import MaskKind
from pipelines.classifiers.data.data import ClassifierData, batches
from pipelines.classifiers.measuring import Split
from pipelines.classifiers.model_file import ClassifierRecord
from pipelines.classifiers.networks.architectures import ARCHITECTURES, ModelConfig, make_model

OnStep = Callable[[Step], None]


def train_original(
    data: ClassifierData,
    model: ModelConfig,
    recipe: TrainingRecipe,
    *,
    seed: int,
    device: torch.device,
    state: Path | None = None,
    on_step: OnStep = lambda _: None,
) -> tuple[nn.Module, ClassifierRecord]:
    """Train on all of the training part.

    Args:
        state: where the last whole epoch is kept, for a run that may be cut.
    """
    network = make_model(model, data.facts, seed).to(device)
    earlier = 0.0 if state is None else kept_seconds(state)
    begun = time.perf_counter()
    for step in train_classifier(network, batches(data.train), recipe, seed, state):
        on_step(step)
    record = ClassifierRecord(
        data=data.config,
        model=model,
        facts=data.facts,
        training=recipe,
        fingerprint=data.fingerprint,
        seed=seed,
        seconds=earlier + time.perf_counter() - begun,
    )
    return network.eval(), record


def steps_of_training(recipe: TrainingRecipe, examples: int) -> int:
    """How many steps a run takes, to within one an epoch; for a progress bar."""
    return recipe.epochs * -(-examples // recipe.batch_size)


def forget_data(
    model: nn.Module,
    record: ClassifierRecord,
    data: ClassifierData,
    split: Split,
    method: Method,
    *,
    seed: int,
    mask: MaskKind = "none",
    density: float = 0.5,
    state: Path | None = None,
    memo: dict[str, Any] | None = None,
    on_step: OnStep = lambda _: None,
) -> tuple[Unlearned, ClassifierRecord]:
    """Let a model forget part of what it was trained on.

    Args:
        record: of `model`; its recipe is that of retraining, its batch size that of all methods.
        mask: one to compute first, and to count into the run time.
        density: share of the weights in it.
        memo: of `unlearn`, for the trials of a search.
    """
    size = record.training.batch_size
    forget, retain = (batches(data.train, part, size) for part in (split.forget, split.retain))
    begun = time.perf_counter()
    chosen = _mask(mask, model, forget, density, seed)
    masking = time.perf_counter() - begun
    made = unlearn(
        model,
        forget,
        retain,
        method,
        mask=chosen,
        seed=seed,
        classes=len(data.facts.classes),
        training=record.training,
        build=_builder(record, seed),
        state=state,
        memo=memo,
        on_step=on_step,
    )
    made = replace(made, seconds=made.seconds + masking)
    settings = asdict(method) | ({} if mask == "none" else {"mask": mask, "density": density})  # type: ignore[call-overload]
    changed = replace(
        record,
        seed=seed,
        method=method.name,
        settings=json.dumps(settings, sort_keys=True),
        base=weights_hash(model.state_dict()),
        seconds=made.seconds,
        moved=made.moved,
    )
    return made, changed


def _builder(record: ClassifierRecord, seed: int) -> Callable[[], nn.Module] | None:
    """What makes a model of a user's own function anew, as that may draw first weights in any way;
    None for one of ours, in which every layer resets itself."""
    if record.model.architecture in ARCHITECTURES:
        return None
    return lambda: make_model(record.model, record.facts, seed)


def _mask(
    kind: MaskKind, model: nn.Module, forget: Batches, density: float, seed: int
) -> SaliencyMask | None:
    if kind == "none":
        return None
    scores = classifier_saliency(model, forget)
    if kind == "random":
        return random_mask(scores, density, generator_for(seed, "random mask"))
    return (salient_mask if kind == "salient" else inverse_mask)(scores, density)
