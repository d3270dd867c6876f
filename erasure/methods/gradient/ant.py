"""ANT: keep the early, noisy part of the way that an image takes, and turn the late part round."""

# B samples, C x H x W latents.

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.diffusion.batches import Rollout, RolloutBatches
from erasure.diffusion.denoiser import Denoiser, join
from erasure.diffusion.task import Task
from erasure.errors import ConfigError
from erasure.masks.masks import MaskKind
from erasure.methods.gradient.by_gradient import ByRollout
from erasure.methods.gradient.esd import shifted
from erasure.setting_checks import require_not_negative
from erasure.training.objective import Loss
from erasure.training.step import Step
from erasure.training.weights.frozen import FrozenDenoiser


@dataclass(frozen=True, slots=True)
class EarlyAndLate:
    """Two points of the way that each sample takes from its noise."""

    early: Rollout
    late: Rollout


@dataclass(frozen=True, slots=True)
class SplitRollouts:
    """Rollouts that end before and after a step: each pair has one noise and one prompt."""

    early: RolloutBatches
    late: RolloutBatches

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample's latents, (C, H, W)."""
        return self.early.shape

    def at(
        self, position: int, count: int, student: Denoiser, frozen: FrozenDenoiser, /
    ) -> EarlyAndLate:
        """Draw `count` pairs."""
        return EarlyAndLate(
            self.early.at(position, count, student, frozen),
            self.late.at(position, count, student, frozen),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Ant(ByRollout):
    """reverse(x_l) + b empty(x_l) + a (keep(x_e) + b empty(x_e)) at an early and a late point.

    reverse is |e(x | c) - (e0(x | empty) - n (e0(x | c) - e0(x | empty)))|^2, keep the same with
    plus, which for n 1 asks for what is already there, and empty is |e(x | empty) - e0(x |
    empty)|^2, e0 being the base. Early steps decide the layout, so the concept's pictures keep
    theirs and lose the concept. The early point lies before `keep_steps` of the sampling.

    Source: arXiv:2504.12782, its loss for one concept with a and b as in its release; early is
        kept and late is reversed, counted from the noise, as in the paper. The release for one
        concept counts the steps that remain, so it keeps the last 7 of 50 and reverses the rest.
        The paper trains the weights that lie in each of several masks (one for each seed and
        prompt, of the largest gradients of this loss); `erasure mask --saliency-loss own` makes
        one and `erasure mask --intersect` joins them. There a mask holds half of the weights of
        each tensor (by a sign turned round, those with the smallest gradients), here a share of all
        together. Its optimiser moves the weights while the maps are taken, here it does not.

    Examples:
        >>> prompts = PromptLists(["a church"])
        >>> data = encode_concept(checkpoint, None, {"a church": [""]}, prompts=prompts)
        >>> mask = find_mask(checkpoint, data, "all", scope="xattn")
        >>> edit = erase(checkpoint, data, mask, Ant(steps=1, rollout_steps=4, keep_steps=2))
    """

    name: ClassVar[str] = "ant"
    title: ClassVar[str] = "keep the early part of the drawing and turn the late part round"
    source: ClassVar[str] = "arXiv:2504.12782, loss for one concept"
    default_mask: ClassVar[MaskKind] = "salient"
    default_scope: ClassVar[str] = "full"
    reads_instead: ClassVar[bool] = False
    """Nothing is put in the concept's place."""
    drawn: ClassVar[int] = 2
    """An early and a late rollout; the early one is short."""
    learned: ClassVar[int] = 4
    """Answers to the concept and to the empty prompt at both points."""
    asked: ClassVar[int] = 4
    """The base's answers to the same."""

    steps: int = 250
    """Optimiser steps."""
    learning_rate: float = 5e-4
    """Learning rate of the optimiser, after the warm-up."""
    strength: float = 1.0
    """n, how far the late target lies beyond the empty prompt's answer; 1 keeps the early part."""
    keep_steps: int = 15
    """Steps of the sampling that are early; fewer than `rollout_steps`."""
    keep_weight: float = 1.0
    """a, weight of the early terms, >= 0."""
    empty_weight: float = 0.5
    """b, weight of the empty prompt's answers, >= 0."""

    def __post_init__(self) -> None:
        ByRollout.__post_init__(self)
        if self.rollout_steps < 2:
            raise ConfigError(
                f"rollout_steps is {self.rollout_steps}, and one step has no point before another; "
                "give 2 or more"
            )
        if not 1 <= self.keep_steps < self.rollout_steps:
            raise ConfigError(
                f"keep_steps is {self.keep_steps}; give 1 to {self.rollout_steps - 1}, fewer than "
                "rollout_steps"
            )
        require_not_negative(self, "keep_weight", "empty_weight")

    @property
    def rollout_passes(self) -> int:
        """Passes of both rollouts, on average: the early one ends before the split, the late one
        behind it."""
        return 2 * self.keep_steps + self.rollout_steps - 2

    def run(self, task: Task, /) -> Iterator[Step]:
        """Train on early and late rollouts of the student."""
        whole = self.rollouts(task, "student")
        early = replace(whole, most=self.keep_steps - 1)
        batches = SplitRollouts(early, replace(whole, least=self.keep_steps))
        return task.train(self, batches, self, needs_frozen=True)

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: EarlyAndLate, /) -> Loss:
        """Reversed and kept; no gradient flows through the base's answers."""
        early, late = batch.early, batch.late
        with torch.no_grad():
            base = [_both(frozen, point) for point in (early, late)]
        answers = [_both(student, point) for point in (early, late)]
        (early_empty, early_concept), (late_empty, late_concept) = answers
        (kept_empty, kept_concept), (base_empty, base_concept) = base
        reverse = F.mse_loss(late_concept, shifted(base_empty, base_concept, self.strength))
        keep = F.mse_loss(early_concept, shifted(kept_empty, kept_concept, -self.strength))
        steady = F.mse_loss(early_empty, kept_empty)
        retain = self.keep_weight * (keep + self.empty_weight * steady)
        retain = retain + self.empty_weight * F.mse_loss(late_empty, base_empty)
        return Loss(reverse, retain)


def _both(denoise: Denoiser, point: Rollout) -> tuple[Tensor, Tensor]:
    """Answers to the empty prompt and to the concept, (B, C, H, W) each, float32."""
    both = denoise(
        torch.cat([point.x_t, point.x_t]),
        torch.cat([point.t, point.t]),
        join([point.empty, point.concept]),
    )
    empty, concept = both.float().chunk(2)
    return empty, concept
