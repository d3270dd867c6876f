"""Boundary expanding (BE): send the forget data to a class of its own, then drop that class."""

# B samples, D features into the last layer, C classes.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasure.classifiers.data.batches import Batch
from erasure.classifiers.descent import Descent
from erasure.classifiers.protocol import Need, Task
from erasure.errors import TrainingError
from erasure.seeds import seeded_torch
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundaryExpand(Descent):
    """CE(forget, C) over C + 1 logits: the model's own, and one more from the same features.

    The further output lies beside the model, with the first weights that a row of `nn.Linear`
    has, is trained with it, and is gone at the end: the model keeps its C logits throughout.

    Source: arXiv:2303.11570, boundary expanding, which prunes the shadow class as here. The
        released code of arXiv:2310.12508 leaves it in, so that whatever falls into it counts as
        wrong. Its rates were 1e-6 to 1e-5 in later studies.
    """

    name: ClassVar[str] = "be"
    source: ClassVar[str] = "arXiv:2303.11570, boundary expanding"
    needs: ClassVar[frozenset[Need]] = frozenset()
    lr: float = 1e-5

    def steps(self, task: Task, /) -> Iterator[Step]:
        """One step a batch of forget data."""
        with seeded_torch(task.device, task.seed, "shadow class"):
            wider = Wider(task)

        def losses(epoch: int) -> Iterator[Tensor]:
            for batch in task.forget.shuffled(task.seed, "forget", epoch):
                shadow = torch.full_like(batch.labels, task.classes)
                yield F.cross_entropy(wider(batch), shadow)

        try:
            yield from task.descend(self, losses, extra=wider.row)
        finally:
            wider.close()


class Wider:
    """A model's answers with one more logit, computed from what enters its last layer."""

    def __init__(self, task: Task) -> None:
        """Watch the last layer and make a row for the further class.

        Raises:
            TrainingError: the model has no linear layer with as many outputs as classes.
        """
        heads = [
            module
            for module in task.model.modules()
            if isinstance(module, nn.Linear) and module.out_features == task.classes
        ]
        if not heads:
            raise TrainingError(
                f"no nn.Linear of {type(task.model).__name__} has {task.classes} outputs, so there "
                "is no last layer to expand; use another method, such as boundary shrink"
            )
        head = heads[-1]
        self._task = task
        self._features: Tensor | None = None
        self._answer: Tensor | None = None
        self.row = nn.Linear(
            head.in_features,
            1,
            bias=head.bias is not None,
            device=head.weight.device,
            dtype=head.weight.dtype,
        )
        self._hook = head.register_forward_hook(self._watch)

    def _watch(self, module: nn.Module, inputs: tuple[Any, ...], answer: Tensor) -> None:
        (self._features,), self._answer = inputs, answer

    def __call__(self, batch: Batch) -> Tensor:
        """(B, C + 1)."""
        logits = self._task.logits(batch)
        features, answer, self._features, self._answer = self._features, self._answer, None, None
        if features is None or answer is None or not torch.equal(answer.to(logits.dtype), logits):
            raise TrainingError(
                "the logits are not what the last nn.Linear of the model gives, so it cannot be "
                "expanded; use another method, such as boundary shrink"
            )
        return torch.cat([logits, self.row(features).to(logits.dtype)], dim=1)

    def close(self) -> None:
        """Leave the model alone."""
        self._hook.remove()
