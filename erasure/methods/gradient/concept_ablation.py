"""Concept ablation: learn pictures of what stands in under the concept's prompts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F

from erasure.diffusion.batches import PictureBatch, PictureBatches
from erasure.diffusion.denoiser import Denoiser
from erasure.diffusion.task import Task
from erasure.masks.masks import MaskKind
from erasure.methods.gradient.by_gradient import ByGradient
from erasure.methods.protocol import Need
from erasure.setting_checks import require_choice, require_not_negative
from erasure.training.objective import Loss
from erasure.training.retaining import predict_both, retain_loss, retain_target
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class ConceptAblation(ByGradient):
    """|e(x_t | target) - wanted|^2 + prior |e(x'_t | anchor) - noise|^2, x a picture of the anchor.

    The pictures are drawn by the model from prompts that stand in for the concept. Wanted is what
    the model in training answers to the anchor's prompt at the same latents (`model`), or the
    noise (`noise`), so that the latter is the plain diffusion loss under a wrong caption. There is
    no retain term but the prior on the same pictures under their own captions.

    Source: arXiv:2303.13516, model-based and noise-based variants; settings of its release for
        objects and styles, with the rate that its scaling by batch and devices comes to (2e-6
        times 8). For nudity it trains `--scope attn` for 400 steps at 3.2e-5 with a prior of 1. It
        differs in two points: the release's random rescaling of pictures is left out, and prompts
        are the plan's, not 200 of a language model.

    Examples:
        >>> sorted(ConceptAblation(steps=100, prior=0.5).needs)
        ['anchors']
    """

    name: ClassVar[str] = "concept-ablation"
    title: ClassVar[str] = "learn pictures of what stands in, captioned as the concept"
    source: ClassVar[str] = "arXiv:2303.13516, model-based and noise-based objectives"
    default_mask: ClassVar[MaskKind] = "all"
    default_scope: ClassVar[str] = "xattn-kv"

    steps: int = 100
    """Optimiser steps, not epochs."""
    learning_rate: float = 1.6e-5
    """Learning rate of the optimiser, after the warm-up."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    """The optimiser of torch by this name."""
    weight_decay: float = 1e-2
    """Weight decay of the selected weights; no other weight decays."""
    clip_norm: float | None = 1.0
    """Largest norm of the selected gradients together."""
    wanted: Literal["model", "noise"] = "model"
    """What is learned: the model's own answer to the anchor's prompt, or the noise."""
    prior: float = 0.0
    """Weight of the plain loss on the anchor pictures under their own captions, >= 0; the release
    takes 1 for nudity and where both prompts share words."""

    def __post_init__(self) -> None:
        ByGradient.__post_init__(self)
        require_choice(self, "wanted", "model", "noise")
        require_not_negative(self, "prior")

    @property
    def needs(self) -> frozenset[Need]:
        """Pictures of what stands in; none of the concept."""
        return frozenset({"anchors"})

    def run(self, task: Task, /) -> Iterator[Step]:
        """Train on the anchor pictures."""
        data = task.data.of_anchors(also_retained=self.prior > 0)
        batches = PictureBatches(data, task.schedule, self.seed, task.device)
        return task.train(self, batches, self)

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: PictureBatch, /) -> Loss:
        """Both losses of one batch; no gradient flows through the answer to the anchor's prompt."""
        shown = batch.forget
        wanted = shown.target
        if self.wanted == "model":
            with torch.no_grad():
                wanted = student(shown.x_t, shown.t, batch.replacement)  # (B, C, H, W)
        predicted, retained = predict_both(student, batch)
        forget = F.mse_loss(predicted.float(), wanted.float())
        return Loss(forget, retain_loss(retained, retain_target(batch), self.prior))
