"""How far and how fast a training moves the selected weights."""

import math
from dataclasses import dataclass
from typing import Literal

from erasure.diffusion.precision import PRECISIONS, Precision
from erasure.errors import ConfigError
from erasure.setting_checks import require_counts, require_not_negative
from erasure.training.clock import cosine, warming
from erasure.training.optimizers import require_optimizer


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How far and how fast the selected weights move.

    The methods that train by gradient have these settings too.

    Raises:
        ConfigError: a setting is outside its range.

    Examples:
        >>> TrainConfig(steps=100, micro_batch=2).learning_rate
        1e-05
    """

    steps: int = 600
    """Optimiser steps, not epochs."""
    batch_size: int = 8
    """Forget samples a step, and as many retain samples; of all processes together."""
    micro_batch: int | None = None
    """Samples a pass of one process: less memory, same result. Gradients are accumulated where it
    is smaller than the process's part of `batch_size`."""
    learning_rate: float = 1e-5
    """Learning rate of the optimiser, after the warm-up."""
    warmup: int = 0
    """Steps of linear warm-up, below the full rate; the step after them is the first at it."""
    decay: Literal["constant", "cosine"] = "constant"
    """What the rate does after the warm-up. A cosine begins at the full rate in the first step
    after the warm-up and is zero in the last one; where only one step follows the warm-up, it has
    the full rate, and where none does, there is no decay."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """The optimiser of torch by this name."""
    weight_decay: float = 0.0
    """Weight decay of the selected weights; no other weight decays."""
    momentum: float = 0.9
    """Only read by SGD."""
    moments: Literal["fp32", "8bit"] = "fp32"
    """Numbers of the optimiser's state; 8bit takes 2 bytes a selected weight, not 8, and needs
    bitsandbytes."""
    clip_norm: float | None = None
    """Largest norm of the selected gradients together."""
    precision: Precision = "fp32"
    """Precision of the passes; the selected weights are always float32. With `bf16` the products
    are rounded, with `bf16-weights` the network they are put into as well: half its memory."""
    seed: int = 0
    """Seed of the samples: their order, times and noise."""

    def __post_init__(self) -> None:
        require_counts(self, "steps", "batch_size")
        require_optimizer(self, rate="learning_rate")
        require_not_negative(self, "warmup")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ConfigError(f"clip_norm is {self.clip_norm}; give more than 0, or none")
        if self.micro_batch is not None and not 1 <= self.micro_batch <= self.batch_size:
            raise ConfigError(
                f"micro_batch is {self.micro_batch}; give 1 to {self.batch_size}, the batch_size"
            )
        for name, known in (
            ("precision", PRECISIONS),
            ("moments", ("fp32", "8bit")),
            ("decay", ("constant", "cosine")),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; give one of {known}")
        if self.moments == "8bit":
            self._check_eight_bit()

    def _check_eight_bit(self) -> None:
        if self.optimizer == "sgd" and not self.momentum:
            raise ConfigError("moments is '8bit', but SGD without momentum has none; give 'fp32'")
        if self.optimizer == "adam" and self.weight_decay:
            raise ConfigError(
                f"moments is '8bit' and weight_decay {self.weight_decay}: the 8-bit Adam decays "
                "weights as AdamW does, so give optimizer 'adamw', or moments 'fp32'"
            )

    def rate(self, index: int) -> float:
        """Learning rate of the step that follows `index` others."""
        if index < self.warmup:
            return warming(self.learning_rate, index, self.warmup)
        after = self.steps - 1 - self.warmup
        if self.decay == "constant" or after < 1:
            return self.learning_rate
        progress = (index - self.warmup) / after
        return cosine(self.learning_rate, math.pi * progress)
