"""Boundary shrink (BS): hand each forget sample to the class next door."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasure.classifiers.data.batches import Batch, logits_of
from erasure.classifiers.descent import Descent
from erasure.classifiers.protocol import Need, Task
from erasure.errors import TrainingError
from erasure.setting_checks import require_positive
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundaryShrink(Descent):
    """CE(forget, y_adv), y_adv being what the original model sees in an adversarial neighbour.

    Source: arXiv:2303.11570, boundary shrink, as in the released code of arXiv:2310.12508: one
        step of the fast gradient sign method, bound 0.1, rounded to 256 levels. As there, y_adv is
        the true label where the attack fails. Its rates were 1e-6 to 1e-5 in later studies.
    """

    name: ClassVar[str] = "bs"
    source: ClassVar[str] = "arXiv:2303.11570, boundary shrink"
    needs: ClassVar[frozenset[Need]] = frozenset()
    lr: float = 1e-5
    bound: float = 0.1
    """Length of the attack's step in every entry of the input."""
    image: bool = True
    """Inputs are images in [0, 1] with 256 levels and the attack stays there; else they are any
    numbers, such as a table or an image that is already normalised."""

    def __post_init__(self) -> None:
        Descent.__post_init__(self)
        require_positive(self, "bound")

    def steps(self, task: Task, /) -> Iterator[Step]:
        """One step a batch of forget data."""
        original = copy.deepcopy(task.model).eval().requires_grad_(False)

        def losses(epoch: int) -> Iterator[Tensor]:
            for batch in task.forget.shuffled(task.seed, "forget", epoch):
                nearest = self.nearest(original, batch)
                yield F.cross_entropy(task.logits(batch), nearest)

        return task.descend(self, losses)

    def nearest(self, model: nn.Module, batch: Batch) -> Tensor:
        """y_adv of each sample, (B,), int64.

        Raises:
            TrainingError: the inputs are no numbers that an attack can move, or no images.
        """
        inputs = batch.inputs
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            raise TrainingError(
                "boundary shrink moves the inputs along their gradient, so they must be one tensor "
                "of floating-point numbers; for text use another method, such as boundary expanding"
            )
        if self.image and not (0 <= float(inputs.min()) and float(inputs.max()) <= 1):
            raise TrainingError(
                f"the inputs run from {float(inputs.min()):.3g} to {float(inputs.max()):.3g} and "
                "images should lie in [0, 1]; normalise inside the model, or set image=False"
            )
        moved = inputs.detach().clone().requires_grad_()
        loss = F.cross_entropy(logits_of(model, moved), batch.labels)
        (gradient,) = torch.autograd.grad(loss, moved)
        attacked = inputs + self.bound * gradient.sign()
        if self.image:
            attacked = (attacked.clamp(0, 1) * 255).round() / 255
        with torch.no_grad():
            return logits_of(model, attacked).argmax(dim=1)
