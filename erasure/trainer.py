"""The masked trainer: steps that move the selected weights and no other."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn

from erasure.denoiser import Denoiser
from erasure.errors import ConfigError, TrainingError
from erasure.latents import ConceptData, Draw, noised, shuffled
from erasure.objectives import Batch, Objective
from erasure.schedule import NoiseSchedule
from erasure.seeds import generator_for
from erasure.selected import SelectedWeights
from erasure.team import ALONE, Team, share_of

OPTIMIZERS: Final[Mapping[str, Callable[..., torch.optim.Optimizer]]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How far and how fast the selected weights move."""

    steps: int = 600
    """Optimiser steps, not epochs."""
    batch_size: int = 8
    """Forget samples a step, and as many retain samples; of all processes together."""
    micro_batch: int | None = None
    """Samples a pass of one process; smaller than its part of `batch_size` saves memory
    (gradient accumulation)."""
    learning_rate: float = 1e-5
    warmup: int = 0
    """Steps of linear warm-up."""
    decay: Literal["constant", "cosine"] = "constant"
    """The rate after the warm-up; a cosine falls to zero at the last step."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.9
    """Only read by SGD."""
    clip_norm: float | None = None
    """Largest norm of the selected gradients together."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the passes; the selected weights themselves are always float32."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give 1 or more")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate is {self.learning_rate}; give more than 0")
        for name in ("warmup", "weight_decay", "momentum"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give 0 or more")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ConfigError(f"clip_norm is {self.clip_norm}; give more than 0, or none")
        if self.micro_batch is not None and not 1 <= self.micro_batch <= self.batch_size:
            raise ConfigError(
                f"micro_batch is {self.micro_batch}; give 1 to {self.batch_size}, the batch_size"
            )
        for name, known in (
            ("optimizer", tuple(OPTIMIZERS)),
            ("precision", ("fp32", "bf16")),
            ("decay", ("constant", "cosine")),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; give one of {known}")

    def rate(self, index: int) -> float:
        """Learning rate of the step that follows `index` others."""
        rate = self.learning_rate * min(1.0, (index + 1) / (self.warmup + 1))
        if self.decay == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * index / self.steps))
        return rate


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of the optimiser did."""

    index: int
    """From 1 to `steps`."""
    loss: float
    """forget + retain."""
    forget: float
    retain: float
    """Weighted by alpha."""


class MaskedTrainer:
    """Moves the selected weights of one network; a generator of steps.

    On a team, each process takes its part of every batch and the gradients of the selected weights
    are added up, so that all take the same step. What a sample looks like depends on its place in
    the whole stream alone, so the steps are those of one process, but for rounding.
    """

    def __init__(
        self,
        network: nn.Module,
        wrap: Callable[[nn.Module], Denoiser],
        data: ConceptData,
        mask: Mapping[str, Tensor],
        *,
        schedule: NoiseSchedule,
        objective: Objective,
        config: TrainConfig,
        team: Team = ALONE,
    ) -> None:
        """Prepare; nothing moves yet.

        Args:
            network: whose parameters the mask names; trained in place, on its own device.
            wrap: makes a denoiser of a network of this kind.
            data: latents and prompts, on CPU.
            mask: bool tensors by parameter name.
            team: with whom the batches are shared; all are given the same.

        Raises:
            MaskError: the mask does not fit the network.
        """
        self.config, self._team = config, team
        self._data, self._schedule, self._objective = data, schedule, objective
        self._denoise = wrap(network)
        self._frozen = self._denoise
        if objective.needs_frozen:
            self._frozen = wrap(copy.deepcopy(network).requires_grad_(False))
        self._device = next(network.parameters()).device
        self.selected = SelectedWeights(network, mask)
        self.optimizer = self._make_optimizer()
        self.done = 0
        """Steps taken so far."""

    def _make_optimizer(self) -> torch.optim.Optimizer:
        config = self.config
        extra = {"momentum": config.momentum} if config.optimizer == "sgd" else {}
        return OPTIMIZERS[config.optimizer](
            self.selected.vectors.values(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
            **extra,
        )

    def _autocast(self) -> AbstractContextManager[object]:
        if self.config.precision == "fp32":
            return nullcontext()
        # No cache of cast weights: before torch 2.10 one filled by the target's pass, which runs
        # without gradient, took the gradient from the pass in training.
        return torch.autocast(self._device.type, torch.bfloat16, cache_enabled=False)

    def steps(self) -> Iterator[Step]:
        """Take the remaining steps, yielding after each; the caller may stop at any time.

        Raises:
            TrainingError: the loss or a gradient is not finite, or another process is gone; no
                weight has moved in that step.
        """
        while self.done < self.config.steps:
            yield self._step(self.done)

    def _step(self, index: int) -> Step:
        config = self.config
        self.optimizer.zero_grad(set_to_none=True)
        forget, retain = self._accumulate(index)
        norm = float(self.selected.gradient_norm())
        step = Step(index + 1, forget + retain, forget, retain)
        if not torch.tensor([step.loss, norm]).isfinite().all():
            raise TrainingError(
                f"step {step.index}: the loss is {step.loss} and the gradient norm {norm}, so the "
                "step was not taken; lower learning_rate, bound the ascent, or use fp32"
            )
        if config.clip_norm is not None and norm > config.clip_norm:
            for vector in self.selected.vectors.values():
                if vector.grad is not None:
                    vector.grad.mul_(config.clip_norm / norm)
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate(index)
        self.optimizer.step()
        self.selected.write_back()
        self.done = index + 1
        return step

    def _accumulate(self, index: int) -> tuple[float, float]:
        """Gradients and losses, forget and retain, of one batch of the whole team.

        Every pass counts by its share of the batch, however the batch is cut, so sums are means.
        """
        config = self.config
        mine = share_of(self._team, config.batch_size)
        size = config.micro_batch or config.batch_size
        losses = torch.zeros(2, dtype=torch.float64)
        for start in mine[::size]:
            count = min(size, mine.stop - start)
            share = count / config.batch_size
            batch = self._batch(index * config.batch_size + start, count)
            with self._autocast():
                loss = self._objective(self._denoise, self._frozen, batch)
            torch.autograd.backward(share * loss.total)
            losses[0] += share * float(loss.forget.detach())
            losses[1] += share * float(loss.retain.detach())
        self._team.sum_([losses])
        self.selected.sum_gradients(self._team)
        return float(losses[0]), float(losses[1])

    def _batch(self, position: int, count: int) -> Batch:
        """The samples at a place in the endless stream; independent of how it is cut."""
        data, seed = self._data, self.config.seed
        rows = shuffled(len(data.forget), position, count, seed, "forget order")
        keys = [(seed, "forget", position + n) for n in range(count)]
        forget = noised(data.forget, data.prompts, self._schedule, list(map(Draw, rows, keys)))
        options = data.replacements.shape[1]
        picks = [
            int(torch.randint(options, (1,), generator=generator_for(*key, "replacement")))
            for key in keys
        ]
        replacement = data.prompts[data.replacements[rows, picks]]
        retain = None
        if len(data.retain):
            kept = shuffled(len(data.retain), position, count, seed, "retain order")
            keys = [(seed, "retain", position + n) for n in range(count)]
            retain = noised(data.retain, data.prompts, self._schedule, list(map(Draw, kept, keys)))
            retain = retain.to(self._device, torch.float32)
        return Batch(
            forget.to(self._device, torch.float32),
            replacement.to(self._device, torch.float32),
            retain,
        )
