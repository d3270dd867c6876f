"""ESD: lead the prediction for the concept away from it, on latents that the model itself draws."""

# B samples, C x H x W latents.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.diffusion.batches import BatchSource, Rollout
from erasure.diffusion.denoiser import Denoiser, join
from erasure.diffusion.task import Task
from erasure.masks.masks import MaskKind
from erasure.methods.gradient.by_gradient import ByRollout
from erasure.methods.gradient.hardening import HardenedRollouts, adversary_of
from erasure.setting_checks import require_choice, require_not_negative
from erasure.training.objective import Loss
from erasure.training.step import Step


def shifted(empty: Tensor, concept: Tensor, strength: float) -> Tensor:
    """e(empty) - n (e(concept) - e(empty)): guidance turned around; (B, C, H, W)."""
    return empty - strength * (concept - empty)


@dataclass(frozen=True, kw_only=True, slots=True)
class Esd(ByRollout):
    """|e(x_t | c) - (e0(x_t | empty) - n (e0(x_t | c) - e0(x_t | empty)))|^2, e0 being the base.

    Scopes make its variants: `xattn` is ESD-x, `xattn-kv` is ESD-x-strict, `noxattn` is ESD-u. The
    paper takes ESD-x for styles and ESD-u for objects and nudity. There is no retain term.

    Source: arXiv:2303.07345, eq. 7 with its n; the rate, the steps and the batch of one are those
        of its release. It differs from the release in two points. There, the latents are cleaner
        than the time that is told with them says; here both belong together. And a newer release
        writes n' = n + 1 with a frozen rollout and calls 2 what is 1 here.

    Examples:
        >>> prompts = PromptLists(["a church"])
        >>> data = encode_concept(checkpoint, None, {"a church": [""]}, prompts=prompts)
        >>> mask = find_mask(checkpoint, data, "all", scope="xattn")
        >>> edit = erase(checkpoint, data, mask, Esd(steps=2, rollout_steps=3))
    """

    name: ClassVar[str] = "esd"
    title: ClassVar[str] = "lead the concept's prediction away from it; needs prompts, no pictures"
    source: ClassVar[str] = "arXiv:2303.07345, eq. 7"
    default_mask: ClassVar[MaskKind] = "all"
    default_scope: ClassVar[str] = "xattn"
    reads_instead: ClassVar[bool] = False
    """Nothing is put in the concept's place."""

    steps: int = 1000
    """Optimiser steps."""
    strength: float = 1.0
    """n, how far beyond the empty prompt's prediction the target lies; 0 is that prediction."""
    rollout: Literal["student", "frozen"] = "student"
    """Who draws the latents: the network in training, or the base."""

    harden: int = 0
    """Steps of an adversary in every step: it looks for an embedding that brings the concept back,
    and the rollouts are learned under it as well. 0 is none."""

    def __post_init__(self) -> None:
        ByRollout.__post_init__(self)
        require_not_negative(self, "harden")
        require_choice(self, "rollout", "student", "frozen")

    def run(self, task: Task, /) -> Iterator[Step]:
        """Train on rollouts."""
        batches: BatchSource[Rollout] = self.rollouts(task, self.rollout)
        if self.harden:
            rows = task.data.require_texts().forget
            batches = HardenedRollouts(batches, adversary_of(task, rows, self.harden, self.seed))
        return task.train(self, batches, self, needs_frozen=True)

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: Rollout, /) -> Loss:
        """The loss of one batch; no gradient flows through the base's answers."""
        with torch.no_grad():
            both = frozen(
                torch.cat([batch.x_t, batch.x_t]),
                torch.cat([batch.t, batch.t]),
                join([batch.empty, batch.concept]),
            )
            empty, concept = both.float().chunk(2)
            wanted = shifted(empty, concept, self.strength)
        asked = batch.concept if batch.asked is None else batch.asked
        predicted = student(batch.x_t, batch.t, asked)
        return Loss(F.mse_loss(predicted.float(), wanted), torch.zeros(()))
