"""SalUn: answer to the concept as if another prompt had been given, by the salient weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F

from erasure.diffusion.batches import BatchSource, PictureBatch
from erasure.diffusion.denoiser import Denoiser
from erasure.diffusion.task import Task
from erasure.masks.masks import MaskKind
from erasure.methods.gradient.by_gradient import ByGradient
from erasure.methods.gradient.hardening import HardenedPictures, adversary_of
from erasure.methods.protocol import Need
from erasure.setting_checks import require_choice, require_not_negative
from erasure.training.objective import Loss
from erasure.training.retaining import predict_both, retain_loss, retain_target
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class SalUn(ByGradient):
    """|eps(x_t | forget) - sg eps(x_t | replacement)|^2 + alpha |eps(x_r | retain) - kept|^2.

    Source: arXiv:2310.12508, objective for image generation. As in the released code the weight
    `alpha` sits on the retain term and the replacement is a prompt. Unlike there, both passes of
    the forget term see the same x_t: the release draws two posterior samples, so its loss is not
    zero even where both prompts are equal.

    Published settings: half of all weights, Adam at 1e-5, batches of 8; a class of ImageNette
    alpha 0.5 and five passes over its pictures, 600 steps, answered as the next class; nudity
    alpha 0.1 and one pass of 100 steps over 800 pictures, answered as a person wearing clothes.
    Its paper's settings for styles are not known.

    Examples:
        >>> edit = erase(checkpoint, data, mask, SalUn(steps=2, learning_rate=1e-5))
        >>> [step.index for step in edit.history]
        [1, 2]
    """

    name: ClassVar[str] = "salun"
    title: ClassVar[str] = "answer to the concept as to another prompt, by the salient weights"
    source: ClassVar[str] = "arXiv:2310.12508, saliency map and objective for image generation"
    default_mask: ClassVar[MaskKind] = "salient"
    default_scope: ClassVar[str] = "full"

    alpha: float = 1.0
    """Weight of the retain loss, >= 0."""
    target: Literal["moving", "frozen"] = "moving"
    """The model that answers to the replacement: the one in training, as released, or the base."""
    kept: Literal["noise", "base"] = "noise"
    """What the retain term pulls to: the true noise (or velocity), as released, or what the model
    predicted before. The second has no gradient at the start and does not teach the model the
    accidents of a small retain set; it needs the base's values and a pass with them."""
    harden: int = 0
    """Steps of an adversary in every step: it looks for an embedding that brings the concept back,
    and the forget samples are learned under it as well. 0 is none."""

    def __post_init__(self) -> None:
        ByGradient.__post_init__(self)
        require_not_negative(self, "alpha")
        require_choice(self, "target", "moving", "frozen")
        require_not_negative(self, "harden")
        require_choice(self, "kept", "noise", "base")

    @property
    def needs(self) -> frozenset[Need]:
        """Only a target that does not move with the model needs the base's answers."""
        frozen = self.target == "frozen" or self.kept == "base"
        return frozenset({"pictures", "frozen"} if frozen else {"pictures"})

    @property
    def unread(self) -> Mapping[str, str]:
        """Setting that is not looked at -> why."""
        return {} if self.alpha else {"kept": "alpha is 0"}

    def run(self, task: Task, /) -> Iterator[Step]:
        """Train on pictures of the concept and of what is kept."""
        batches: BatchSource[PictureBatch] = task.pictures(self)
        if self.harden:
            adversary = adversary_of(task, task.data.forget.prompt, self.harden, self.seed)
            batches = HardenedPictures(batches, adversary)
        return task.train(self, batches, self, needs_frozen="frozen" in self.needs)

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: PictureBatch, /) -> Loss:
        """Both losses of one batch; no gradient flows through the replacement's answer."""
        teacher = frozen if self.target == "frozen" else student
        with torch.no_grad():
            wanted = teacher(batch.forget.x_t, batch.forget.t, batch.replacement)  # (B, C, H, W)
            truth = retain_target(batch, frozen if self.kept == "base" else None)
        predicted, retained = predict_both(student, batch)
        forget = F.mse_loss(predicted.float(), wanted.float())
        return Loss(forget, retain_loss(retained, truth, self.alpha))
