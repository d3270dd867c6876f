"""LECO: lead the prediction for a prompt along the way between others, given by name."""

# B samples, C x H x W latents.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from erasure.diffusion.batches import PulledBy, Rollout
from erasure.diffusion.denoiser import Denoiser, join
from erasure.diffusion.task import Task
from erasure.masks.masks import MaskKind
from erasure.methods.gradient.by_gradient import ByRollout
from erasure.setting_checks import require_choice, require_not_negative
from erasure.training.objective import Loss
from erasure.training.step import Step

Action = Literal["erase", "enhance", "swap"]


def pulled(neutral: Tensor, positive: Tensor, unconditional: Tensor, strength: Tensor) -> Tensor:
    """e(neutral) + s (e(positive) - e(unconditional)), (B, C, H, W), with s (B,)."""
    return neutral + strength[:, None, None, None] * (positive - unconditional)


@dataclass(frozen=True, kw_only=True, slots=True)
class Leco(ByRollout):
    """|e(x_t | target) - (e0(neutral) -/+ g (e0(positive) - e0(unconditional)))|^2, e0 the base.

    Minus is `erase`, plus is `enhance`. With the concept's own prompts, target and positive are one
    of them, and unconditional and neutral are the empty prompt; `swap` takes what stands in for the
    concept as neutral, so that with g 0 its answer alone is learned. A file of prompts
    (`data.rows`) names all four, the action and g, row by row, in the TOML and YAML of the common
    trainers.

    Source: the trainers LECO (p1atdev) and sd-scripts, whose loss is that of arXiv:2303.07345 with
        four prompts. They train an adapter of rank 4 at a rate of 1e-4; here the selected weights
        themselves move, so the rate is that of ESD. Rollouts take from 0 steps on, there from 1;
        the time that is told with the latents is exactly theirs, which it is not in sd-scripts,
        where gradients also run through the rollout.

    Examples:
        >>> prompts = PromptLists(["a church"])
        >>> data = encode_concept(checkpoint, None, {"a church": [""]}, prompts=prompts)
        >>> mask = find_mask(checkpoint, data, "all", scope="xattn")
        >>> edit = erase(checkpoint, data, mask, Leco(steps=1, rollout_steps=3, action="swap"))
    """

    name: ClassVar[str] = "leco"
    title: ClassVar[str] = "erase, enhance or swap by four prompts; reads the trainers' files"
    source: ClassVar[str] = "arXiv:2303.07345, eq. 7 with four prompts, as LECO has it"
    default_mask: ClassVar[MaskKind] = "all"
    default_scope: ClassVar[str] = "xattn"
    reads_rows: ClassVar[bool] = True
    """A file of prompts may say what becomes of each."""
    asked: ClassVar[int] = 3
    """The answers to the three other prompts."""

    steps: int = 500
    """Optimiser steps."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    """The optimiser of torch by this name."""
    action: Action = "erase"
    """What becomes of the concept; a file of prompts says it of each row instead."""
    strength: float = 1.0
    """g, how far the target lies from the neutral prompt's answer; a file says it of each row."""

    def __post_init__(self) -> None:
        ByRollout.__post_init__(self)
        require_choice(self, "action", "erase", "enhance", "swap")
        require_not_negative(self, "strength")

    @property
    def reads_instead(self) -> bool:
        """Only a swap puts something in the concept's place."""
        return self.action == "swap"

    def run(self, task: Task, /) -> Iterator[Step]:
        """Train on the student's rollouts."""
        return task.train(self, self.rollouts(task, "student"), self, needs_frozen=True)

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: Rollout, /) -> Loss:
        """The loss of one batch; no gradient flows through the base's answers."""
        pull = batch.pull or self._own(batch)
        with torch.no_grad():
            three = frozen(
                torch.cat([batch.x_t] * 3),
                torch.cat([batch.t] * 3),
                join([pull.neutral, pull.positive, pull.unconditional]),
            )
            neutral, positive, unconditional = three.float().chunk(3)
            wanted = pulled(neutral, positive, unconditional, pull.strength)
        predicted = student(batch.x_t, batch.t, batch.concept).float()
        errors = (predicted - wanted).square().flatten(1).mean(1)  # (B,)
        return Loss((pull.weight * errors).mean(), torch.zeros(()))

    def _own(self, batch: Rollout) -> PulledBy:
        """What the settings make of the concept's own prompts."""
        ones = torch.ones(len(batch), device=batch.x_t.device)
        sign = 1.0 if self.action == "enhance" else -1.0
        neutral = batch.replacement if self.action == "swap" else batch.empty
        return PulledBy(batch.concept, batch.empty, neutral, sign * self.strength * ones, ones)
