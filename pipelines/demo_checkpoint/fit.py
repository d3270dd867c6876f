"""One seeded, resumable training loop with a cosine rate and an average of the weights."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from erasure.storage.tensors.tensor_file import write_tensors
from erasure.training.clock import cosine
from erasure.training.update import set_rate
from pipelines.words.durations import about

log = logging.getLogger(__name__)

Loss = Callable[[torch.Generator], Tensor]
"""Draws a batch from the generator and returns a scalar."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """How long and how fast to train one network."""

    steps: int
    """Optimiser steps."""
    learning_rate: float
    """Rate at the start of a cosine that reaches zero after `horizon` steps; the warm-up's share
    is multiplied on top, so the rate itself peaks a little below."""
    warmup: int = 200
    """Steps of linear warm-up."""
    horizon: int | None = None
    """Step at which the rate would be zero; `steps` if none."""
    decay: float = 0.999
    """Decay of the exponential average of the weights."""
    seed: int = 0
    save_every: int = 250
    """Steps between two states on disk."""

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        share = cosine(1.0, math.pi * step / (self.horizon or self.steps))
        return self.learning_rate * min(1.0, (step + 1) / self.warmup) * share


def fit(model: nn.Module, loss: Loss, config: FitConfig, state: Path) -> nn.Module:
    """Train `model` in place and return the average of its weights.

    Starts from `state` where that file exists and keeps it up to date. A run that was cut takes
    the same steps as one that was not.
    """
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.decay))
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=config.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=1e-3,
        fused=True,  # takes a third of the time on one thread
    )
    generator = torch.Generator().manual_seed(config.seed)
    first = 0
    if state.exists():
        first = _restore(load_file(state), model, average, optimizer, generator)
    model.train()
    started, smooth = time.monotonic(), None
    for step in range(first, config.steps):
        set_rate(optimizer, config.rate(step))
        optimizer.zero_grad(set_to_none=True)
        value = loss(generator)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        current = float(value.detach())
        smooth = current if smooth is None else 0.98 * smooth + 0.02 * current
        done = step + 1
        if done % 100 == 0:
            pace = (time.monotonic() - started) / (done - first)
            left = about(pace * (config.steps - done))
            log.info("%s %d/%d loss %.4f, %s left", state.stem, done, config.steps, smooth, left)
        if done % config.save_every == 0 or done == config.steps:
            _save(state, done, model, average, optimizer, generator)
    network: nn.Module = average.module
    return network.eval()


def _save(
    path: Path,
    step: int,
    model: nn.Module,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> None:
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v.clone() for k, v in average.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in values.items()}
    tensors["generator"] = generator.get_state()
    tensors["step"] = torch.tensor(step)
    write_tensors(path, tensors, {"format": "demo-checkpoint-state 1"})


def _restore(
    tensors: dict[str, Tensor],
    model: nn.Module,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> int:
    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    model.load_state_dict(under("model."))
    average.load_state_dict(under("average."))
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in under("optimizer.").items():
        index, key = name.split(".", 1)
        states.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": states})
    generator.set_state(tensors["generator"])
    return int(tensors["step"])
