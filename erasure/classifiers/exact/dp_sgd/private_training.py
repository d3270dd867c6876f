"""DP-SGD: Poisson batches, clipped gradients of single samples, Gaussian noise; by opacus."""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from erasure.classifiers.data.batch import logits_of
from erasure.classifiers.data.batches import Batches
from erasure.classifiers.data.training_recipe import TrainingRecipe
from erasure.classifiers.exact.dp_sgd.private_accounting import (
    Sampling,
    opacus_needed,
    quiet_opacus,
)
from erasure.classifiers.exact.points import Points
from erasure.classifiers.exact.stable_draws import key_of, uniforms
from erasure.classifiers.progress import Progress
from erasure.classifiers.weights import MovingWeights
from erasure.errors import ConfigError, TrainingError
from erasure.seeds import derived_seed, seeded_torch
from erasure.training.step import Step
from erasure.training.update import set_rate


def trainable_privately(model: nn.Module, batchnorm: Literal["refuse", "replace"]) -> nn.Module:
    """A copy that opacus can train, in training mode.

    Args:
        batchnorm: "replace" lets opacus put GroupNorm, with first weights, in its place.

    Raises:
        ConfigError: a layer mixes samples or is otherwise unfit; opacus is not installed.
    """
    with opacus_needed():
        from opacus.validators import ModuleValidator

        # With channels last every convolution would lay out its input again, see `_wrapped`.
        fit = copy.deepcopy(model).train().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
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
        TrainingError: a loss is not finite, or opacus gets no gradient for a parameter, or another
            one than torch.
    """
    weights = MovingWeights(model)
    inner = recipe.optimizer_of(weights)
    history = [] if progress is None else progress.load(weights, model, inner)
    yield from tuple(history)
    device = next(iter(weights.vectors.values())).device
    samples = replace(points.samples, device=device)
    wrapped, optimizer, layouts = _wrapped(model, inner, noise, clip, sampling)
    checked = False
    try:
        for index in range(len(history), sampling.steps):
            epoch = index // sampling.steps_per_epoch
            set_rate(inner, recipe.rate(epoch))
            drawn = uniforms(key_of(seed, "dp-sgd batch", index), points.ids.numpy())
            batch = samples.subset(torch.from_numpy(np.flatnonzero(drawn < sampling.rate)))
            optimizer.generator = torch.Generator(device).manual_seed(
                derived_seed(seed, "dp-sgd noise", index)
            )
            with seeded_torch(device, seed, "dp-sgd step", index), quiet_opacus():
                checks = () if checked else tuple(model.named_parameters())
                smoothing = recipe.label_smoothing
                loss = _step(wrapped, optimizer, batch, physical_batch, smoothing, checks)
                checked = checked or len(batch) > 0
            if not math.isfinite(loss):
                raise TrainingError(
                    f"step {index + 1}: the loss is {loss}; lower lr, or look for NaN in the data"
                )
            history.append(Step(index + 1, loss, epoch=epoch + 1))
            yield history[-1]
            if progress is not None and (index + 1) % sampling.steps_per_epoch == 0:
                progress.save(weights, model, inner, history)
    finally:
        for layout in layouts:
            layout.remove()
        _unwrap(wrapped, weights)


def _wrapped(
    model: nn.Module,
    inner: torch.optim.Optimizer,
    noise: float,
    clip: float,
    sampling: Sampling,
) -> tuple[Any, Any, list[Any]]:
    """opacus' hooks on the model, its optimiser around ours, and hooks of ours.

    opacus 1.6 cuts windows out of a convolution's input as if its rows lay one after the
    other, and silently gets other gradients where channels come last. So inputs are laid out.
    """
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
        layouts = [
            module.register_forward_pre_hook(_in_rows)
            for module in model.modules()
            if isinstance(module, _ConvNd)
        ]
        return wrapped, optimizer, layouts


def _in_rows(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(each.contiguous() for each in inputs)


def _step(
    model: nn.Module,
    optimizer: Any,  # noqa: ANN401 - opacus has no types
    batch: Batches,
    physical_batch: int | None,
    label_smoothing: float,
    checked: Sequence[tuple[str, nn.Parameter]],
) -> float:
    """One noisy step; returns the mean loss of the batch, 0 for an empty one.

    Args:
        checked: parameters whose gradients of single samples must add up to the plain gradient.
    """
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
        _require_sums(checked)
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


def _require_sums(parameters: Sequence[tuple[str, nn.Parameter]]) -> None:
    """Hold opacus against torch: the mean over the samples is the gradient of the mean loss.

    What clips the wrong gradients bounds nothing.

    Raises:
        TrainingError: it is not.
    """
    lengths, distances = {}, {}
    for name, parameter in parameters:
        single = getattr(parameter, "grad_sample", None)
        if parameter.grad is not None and isinstance(single, torch.Tensor):
            lengths[name] = float(single.flatten(1).norm(dim=1).mean())
            distances[name] = float((single.mean(0) - parameter.grad).norm())
    # Some gradients are nothing but rounding, such as those of a bias that a norm takes away again.
    rounding = 1e-5 * max(lengths.values(), default=0.0)
    for name, distance in distances.items():
        if distance > 1e-3 * lengths[name] + rounding:
            raise TrainingError(
                f"opacus' gradients of single samples do not add up to the gradient of {name!r} "
                f"({distance:.1e} apart, {lengths[name]:.1e} long), so clipping them would bound "
                "nothing; write its layer another way, or try another version of opacus"
            )


def _unwrap(wrapped: Any, weights: MovingWeights) -> None:  # noqa: ANN401
    """Leave the model as a plain one."""
    wrapped.remove_hooks()
    for parameter in weights.vectors.values():
        for name in ("grad_sample", "summed_grad", "_forward_counter", "_current_grad_sample"):
            if hasattr(parameter, name):
                delattr(parameter, name)
    weights.release()
