"""SDD: answer to the concept as to the empty prompt, by a teacher that follows its student."""

# B samples, C x H x W latents.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F

from erasure.diffusion.batches import Rollout
from erasure.diffusion.denoiser import Denoiser
from erasure.diffusion.task import Task
from erasure.errors import ConfigError
from erasure.masks.masks import MaskKind
from erasure.methods.gradient.by_gradient import ByRollout
from erasure.training.objective import Loss
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class Sdd(ByRollout):
    """|e(x_t | c) - sg e(x_t | empty)|^2, both of the student, on latents that a teacher draws.

    The teacher is the moving average of the student, and the teacher is what comes out. It lags:
    with the release's 0.999 and 1,500 steps it holds 78 % of what the first step did, and less
    than 40 % of what any of the last 500 did. Nothing but its slowness holds the answer to the
    empty prompt where it was.

    Source: arXiv:2307.05977 and its release: the rate, the decay of weights, the clipping, the
        steps and the batch of one are the same for all its tasks. It differs from the release in
        two points. The time that is told with the latents is exactly theirs here and is drawn near
        it there. And of several concepts the student is asked for the one that was drawn; there for
        all of them in one prompt.

    Examples:
        >>> prompts = PromptLists(["a church"])
        >>> data = encode_concept(checkpoint, None, {"a church": [""]}, prompts=prompts)
        >>> mask = find_mask(checkpoint, data, "all", scope="xattn")
        >>> edit = erase(checkpoint, data, mask, Sdd(steps=1, rollout_steps=3))
    """

    name: ClassVar[str] = "sdd"
    title: ClassVar[str] = "answer to the concept as to the empty prompt, averaged over the steps"
    source: ClassVar[str] = "arXiv:2307.05977, its objective with the teacher of its release"
    default_mask: ClassVar[MaskKind] = "all"
    default_scope: ClassVar[str] = "xattn"
    reads_instead: ClassVar[bool] = False
    """Nothing is put in the concept's place."""
    asks_origin: ClassVar[bool] = False
    """The teacher follows the training."""
    asked: ClassVar[int] = 1
    """The answer to the empty prompt."""

    steps: int = 1500
    """Optimiser steps."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    """The optimiser of torch by this name."""
    weight_decay: float = 1e-4
    """Weight decay of the selected weights; no other weight decays."""
    clip_norm: float | None = 1.0
    """Largest norm of the selected gradients together."""
    average: float = 0.999
    """Share that the teacher keeps of itself in each step, in (0, 1); the rest is the student's."""

    def __post_init__(self) -> None:
        ByRollout.__post_init__(self)
        if not 0 < self.average < 1:
            raise ConfigError(f"average is {self.average}; give more than 0 and less than 1")

    def run(self, task: Task, /) -> Iterator[Step]:
        """Train on the teacher's rollouts; the teacher is the result."""
        batches = self.rollouts(task, "frozen")
        return task.train(self, batches, self, needs_frozen=True, average_decay=self.average)

    def __call__(self, student: Denoiser, teacher: Denoiser, batch: Rollout, /) -> Loss:
        """The loss of one batch; no gradient flows through the answer to the empty prompt."""
        with torch.no_grad():
            wanted = student(batch.x_t, batch.t, batch.empty)  # (B, C, H, W)
        predicted = student(batch.x_t, batch.t, batch.concept)
        return Loss(F.mse_loss(predicted.float(), wanted.float()), torch.zeros(()))
