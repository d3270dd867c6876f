"""DP-SGD: Poisson batches, clipped gradients of single samples, Gaussian noise; by opacus."""

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from erasure.classifiers.batch import logits_of
from erasure.classifiers.batches import Batches
from erasure.classifiers.points import Points
from erasure.classifiers.private_accounting import Sampling, opacus_needed, quiet_opacus
from erasure.classifiers.progress import Progress, Step
from erasure.classifiers.recipe import TrainingRecipe
from erasure.classifiers.stable_draws import key_of, uniforms
from erasure.classifiers.weights import MovingWeights
from erasure.errors import ConfigError, TrainingError
from erasure.seeds import derived_seed, seeded_torch


def trainable_privately(model: nn.Module, batchnorm: Literal["refuse", "replace"]) -> nn.Module:
    """A copy that opacus can train, in training mode.

    Args:
        batchnorm: "replace" lets opacus put GroupNorm, with first weights, in its place.

    Raises:
        ConfigError: a layer mixes samples or is otherwise unfit; opacus is not installed.
    """
    with opacus_needed():
        from opacus.validators import ModuleValidator

        fit = copy.deepcopy(model).train()
        if batchnorm == "replace":
            fit.requires_grad_(True)  # opacus replaces only what is trainable.
            try:
                fit = ModuleValidator.fix(fit)
            except ValueError as err:
                raise ConfigError(f"opacus finds nothing to replace a layer by: {err}") from err
            trainable = {name: p.requires_grad for name, p in model.named_parameters()}
            for name, parameter in fit.named_parameters():
                parameter.requires_grad_(trainable.get(name, True))
        mixing = [name for name, module in fit.named_modules() if isinstance(module, _BatchNorm)]
        if mixing:
            shown = ", ".join(mixing[:3]) + (f" and {len(mixing) - 3} more" * (len(mixing) > 3))
            raise ConfigError(
                f"BatchNorm mixes the samples of a batch, so {shown} cannot be trained privately; "
                "give batchnorm = 'replace' for GroupNorm in their place, or a network without"
            )
        if errors := ModuleValidator.validate(fit, strict=False):
            raise ConfigError(f"opacus cannot train this network privately: {errors[0]}")
        private: nn.Module = fit.train()
        return private


def train_privately(
    model: nn.Module,
    points: Points,
    recipe: TrainingRecipe,
    sampling: Sampling,
    *,
    noise: float,
    clip: float,
    physical_batch: int | None,
    seed: int,
    progress: Progress | None = None,
) -> Iterator[Step]:
    """Train in place, yielding after every step; the guarantee holds once all steps are taken.

    A point is in a batch by a hash of its id and the step. Steps are independent of each other but
    for the weights, so a run is continued at any whole epoch.

    Args:
        model: what `trainable_privately` gave, on the wanted device.
        noise: deviation over `clip`.
        clip: longest gradient of a sample.
        physical_batch: samples at once; fewer need less memory and change nothing else.

    Raises:
        TrainingError: a loss is not finite, or opacus gets no gradient for a parameter.
    """
    weights = MovingWeights(model)
    inner = recipe.optimizer_of(weights)
    history = [] if progress is None else progress.load(weights, model, inner)
    yield from tuple(history)
    device = next(iter(weights.tensors.values())).device
    samples = replace(points.samples, device=device)
    wrapped, optimizer = _wrapped(model, inner, noise, clip, sampling)
    try:
        for index in range(len(history), sampling.steps):
            epoch = index // sampling.steps_per_epoch
            for group in inner.param_groups:
                group["lr"] = recipe.rate(epoch)
            drawn = uniforms(key_of(seed, "dp-sgd batch", index), points.ids.numpy())
            batch = samples.subset(torch.from_numpy(np.flatnonzero(drawn < sampling.rate)))
            optimizer.generator = torch.Generator(device).manual_seed(
                derived_seed(seed, "dp-sgd noise", index)
            )
            with seeded_torch(device, seed, "dp-sgd step", index), quiet_opacus():
                loss = _step(wrapped, optimizer, batch, physical_batch, recipe.label_smoothing)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"step {index + 1}: the loss is {loss}; lower lr, or look for NaN in the data"
                )
            history.append(Step(index + 1, loss, epoch + 1))
            yield history[-1]
            if progress is not None and (index + 1) % sampling.steps_per_epoch == 0:
                progress.save(weights, model, inner, history)
    finally:
        _unwrap(wrapped, weights)


def _wrapped(
    model: nn.Module,
    inner: torch.optim.Optimizer,
    noise: float,
    clip: float,
    sampling: Sampling,
) -> tuple[Any, Any]:
    """opacus' hooks on the model, and its optimiser around ours."""
    with opacus_needed():
        from opacus.grad_sample import GradSampleModule
        from opacus.optimizers import DPOptimizer

        try:
            wrapped = GradSampleModule(model)
        except (NotImplementedError, ValueError) as err:
            raise ConfigError(f"opacus cannot train this network privately: {err}") from err
        optimizer = DPOptimizer(
            inner,
            noise_multiplier=noise,
            max_grad_norm=clip,
            expected_batch_size=sampling.expected,
        )
        return wrapped, optimizer


def _step(
    model: nn.Module,
    optimizer: Any,  # noqa: ANN401 - opacus has no types
    batch: Batches,
    physical_batch: int | None,
    label_smoothing: float,
) -> float:
    """One noisy step; returns the mean loss of the batch, 0 for an empty one."""
    size, total = len(batch), 0.0
    parts = list(replace(batch, batch_size=physical_batch or max(1, size)).ordered())
    optimizer.zero_grad(set_to_none=True)
    if not parts:  # Noise must be added all the same, or the step would tell that nobody was there.
        for parameter in optimizer.params:
            parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))
        optimizer.step()
    for number, part in enumerate(parts, start=1):
        logits = logits_of(model, part.inputs)
        loss = F.cross_entropy(logits, part.labels, label_smoothing=label_smoothing)
        torch.autograd.backward(loss)
        total += float(loss.detach()) * len(part) / size
        optimizer.signal_skip_step(number < len(parts))
        try:
            optimizer.step()
        except ValueError as err:
            raise TrainingError(
                f"opacus has no gradient of single samples ({err}); set requires_grad to False on "
                "parameters that the network does not use"
            ) from err
        optimizer.zero_grad(set_to_none=True)
    return total


def _unwrap(wrapped: Any, weights: MovingWeights) -> None:  # noqa: ANN401
    """Leave the model as a plain one."""
    wrapped.remove_hooks()
    for parameter in weights.tensors.values():
        for name in ("grad_sample", "summed_grad", "_forward_counter", "_current_grad_sample"):
            if hasattr(parameter, name):
                delattr(parameter, name)
    weights.release()
