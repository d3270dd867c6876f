"""Let a classifier forget: check what is given, run one method on a copy, say what moved."""

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from erasure.classifiers.data.batches import Batches, Loader, logits_of
from erasure.classifiers.data.training_recipe import TrainingRecipe
from erasure.classifiers.progress import Progress, run_hash
from erasure.classifiers.protocol import MaskMaking, Method, Task, Unlearned
from erasure.classifiers.weights import (
    BATCHNORM_POLICIES,
    BatchNormPolicy,
    evaluating,
    require_finite_statistics,
)
from erasure.errors import ConfigError, TrainingError
from erasure.masks.mask_file import mask_hash
from erasure.masks.masks import SaliencyMask, require_weights
from erasure.training.step import Step
from erasure.training.weights.selected import differing, moved_outside


def unlearn(
    model: nn.Module,
    forget: Loader | Batches,
    retain: Loader | Batches,
    method: Method,
    *,
    mask: SaliencyMask | None = None,
    seed: int = 0,
    classes: int | None = None,
    training: TrainingRecipe | None = None,
    build: Callable[[], nn.Module] | None = None,
    batchnorm: BatchNormPolicy = "update",
    state: Path | None = None,
    memo: dict[str, Any] | None = None,
    on_step: Callable[[Step], None] = lambda _: None,
) -> Unlearned:
    """Make a model that has forgotten, leaving the given one as it is.

    Everything random comes from `seed`: on a CPU the same call gives the same bytes.

    Args:
        model: a classifier; it answers with logits, or with an object that has `.logits`.
        forget: loader of (inputs, label); its order is not used, but drawn from the seed.
        retain: loader of the other training data.
        method: one of `erasure.classifiers.METHODS`, with its settings.
        mask: the weights that may move; None for all trainable ones, or for the method's own mask.
        seed: of all that is drawn at random.
        classes: outputs of the model; found out if not given.
        training: how the model was trained, for the methods that need it.
        build: makes an untrained model of this kind; for `fresh_model`.
        batchnorm: whether running statistics follow the batches or keep their values.
        state: file that keeps the last whole epoch; where it exists, the run continues from it and
            ends with the bytes of an unbroken one. Methods without epochs start anew.
        memo: kept from call to call, for trials of one model, forget set, retain set and seed that
            differ in settings alone: what does not depend on these is computed once, and `seconds`
            are less from the second trial on. None computes everything.
        on_step: told of every step, such as a progress bar; also of those that `state` holds.

    Raises:
        ConfigError: the data, the settings or the mask make no task; the message says what to give.
        MaskError: the mask belongs to another model.
        TrainingError: the loss is not finite, or a weight moved that must not.

    Examples:
        >>> data = TensorDataset(torch.randn(12, 4), torch.arange(12) % 3)
        >>> forget, retain = (Batches(part, batch_size=4) for part in random_split(data, [4, 8]))
        >>> result = unlearn(torch.nn.Linear(4, 3), forget, retain, make_method("ft", epochs=1))
        >>> result.model.weight.shape
        torch.Size([3, 4])
    """
    task = _task(copy.deepcopy(model), Batches.of(forget), Batches.of(retain), classes)
    if batchnorm not in BATCHNORM_POLICIES:
        raise ConfigError(f"batchnorm is {batchnorm!r}; give one of {BATCHNORM_POLICIES}")
    if "recipe" in method.needs and training is None:
        raise ConfigError(
            f"{method.name} trains from scratch and needs to know how; give `training`, the "
            "TrainingRecipe of the original model"
        )
    before = dict(model.named_parameters())
    begun = time.perf_counter()
    task = replace(task, seed=seed, training=training, build=build, batchnorm=batchnorm)
    task = replace(task, memo=memo)
    if mask is None and isinstance(method, MaskMaking):
        mask = method.make_mask(task)
    if mask is not None:
        require_weights(mask, before)
    if state is not None:
        words = [repr(method), str(seed), batchnorm, "" if mask is None else mask_hash(mask)]
        words += [repr(training), task.forget.fingerprint(), task.retain.fingerprint()]
        task = replace(task, progress=Progress(state, run_hash(model, *words)))
    steps = []
    task = replace(task, mask=mask)
    for step in method.steps(task):
        steps.append(step)
        on_step(step)
    seconds = time.perf_counter() - begun
    if task.progress is not None:
        seconds += task.progress.earlier
    return _result(task, method, before, tuple(steps), seconds)


def _task(model: nn.Module, forget: Batches, retain: Batches, classes: int | None) -> Task:
    """The task without its settings; finds device and classes, and data that cannot be meant."""
    if len(forget) == 0:
        raise ConfigError("the forget set is empty; give at least one sample to forget")
    if len(retain) == 0:
        raise ConfigError(
            "the retain set is empty, so the forget set is all the data; train another model, or "
            "keep some samples"
        )
    _require_apart(forget, retain)
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise ConfigError(f"{type(model).__name__} has no parameters; give a model that learns")
    for name, value in model.named_parameters():
        if not bool(value.isfinite().all()):
            raise TrainingError(f"{name} of the model holds NaN or infinity; give a sound model")
    require_finite_statistics(model)
    forget, retain = (replace(part, device=parameter.device) for part in (forget, retain))
    outputs = _outputs(model, forget)
    if classes is not None and classes != outputs:
        raise ConfigError(
            f"classes is {classes} and the model has {outputs} outputs; give {outputs}"
        )
    return Task(
        model=model,
        forget=replace(forget, classes=outputs),
        retain=replace(retain, classes=outputs),
        classes=outputs,
        device=parameter.device,
    )


def _require_apart(forget: Batches, retain: Batches) -> None:
    """Raises ConfigError where both hold the same samples."""
    same = "; give a retain set without the samples to forget, and forget fewer than all"
    if forget.dataset is not retain.dataset:
        if replace(forget, batch_size=retain.batch_size).beginning() == retain.beginning():
            raise ConfigError(f"the forget set and the retain set begin with one batch{same}")
        return
    both = [
        torch.arange(len(part)) if part.positions is None else part.positions
        for part in (forget, retain)
    ]
    common = int(torch.isin(both[0], both[1]).sum())
    if common == len(retain) or common == len(forget):
        what = "are the same data" if len(forget) == len(retain) else "lie one within the other"
        raise ConfigError(f"the forget set and the retain set {what}{same}")
    if common:
        raise ConfigError(f"{common} samples are in both sets; take them out of the retain set")


@torch.no_grad()
def _outputs(model: nn.Module, data: Batches) -> int:
    """How many logits the model gives for the first sample."""
    batch = next(data.subset(torch.zeros(1, dtype=torch.int64)).ordered())
    with evaluating(model):
        return logits_of(model, batch.inputs).shape[1]


def _result(
    task: Task,
    method: Method,
    before: dict[str, nn.Parameter],
    steps: tuple[Step, ...],
    seconds: float,
) -> Unlearned:
    """Hold the model against the one it came from."""
    after: dict[str, Tensor] = {}
    for name, parameter in task.model.named_parameters():
        parameter.requires_grad_(before[name].requires_grad)
        after[name] = parameter.detach()
        if not bool(parameter.isfinite().all()):
            raise TrainingError(f"{method.name} made NaN or infinity of {name}; use a smaller step")
    if task.mask is not None and (strays := moved_outside(before, after, task.mask.entries)):
        raise TrainingError(f"weights outside the mask moved, in {', '.join(strays)}")
    return Unlearned(
        model=task.model.eval(),
        method=method,
        seconds=seconds,
        steps=steps,
        mask=task.mask,
        unselected_identical=None if task.mask is None else True,
        moved=sum(int(differing(before[name], after[name]).sum()) for name in after),
    )
