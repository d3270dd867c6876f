"""Random labels (RL): teach the forget data anew, each sample as something it is not."""

# n_f forget samples, C classes.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.classifiers.data.batches import joined
from erasure.classifiers.descent import Descent
from erasure.classifiers.protocol import Need, Task
from erasure.errors import ConfigError
from erasure.seeds import generator_for
from erasure.setting_checks import require_choice, require_not_negative
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomLabel(Descent):
    """CE(forget, y') + alpha CE(retain, y), with fresh random labels y' != y each epoch.

    Source: arXiv:2310.12508, objective for classification. The released code draws y' from all
    classes, so that it is the true one once in C times: `labels="any"`. On CIFAR-10 and SVHN it
    passes over the forget data and then over the retain data (`order="in-turn"`), on CIFAR-100
    and Tiny ImageNet over both together (`order="mixed"`); alpha is 1 there.
    """

    name: ClassVar[str] = "rl"
    source: ClassVar[str] = "arXiv:2310.12508, random labelling"
    needs: ClassVar[frozenset[Need]] = frozenset()
    labels: Literal["other", "any"] = "other"
    """Never the true label, or any."""
    order: Literal["in-turn", "mixed"] = "in-turn"
    """First all forget batches of an epoch, then all retain batches; or both in each batch."""
    alpha: float = 1.0
    """Weight of the retain loss."""

    def __post_init__(self) -> None:
        Descent.__post_init__(self)
        require_choice(self, "labels", "other", "any")
        require_choice(self, "order", "in-turn", "mixed")
        require_not_negative(self, "alpha")

    def steps(self, task: Task, /) -> Iterator[Step]:
        """One step a batch of either set."""
        return task.descend(self, lambda epoch: self.losses(task, epoch))

    def losses(self, task: Task, epoch: int) -> Iterator[Tensor]:
        """The losses of an epoch, from 0, each ()."""
        key = (task.seed, "random label", epoch)
        count, classes = len(task.forget), task.classes
        other = self.labels == "other"
        turns = label_turns(count, classes, *key, other=other).to(task.device)
        if self.order == "in-turn":
            for batch in task.forget.shuffled(task.seed, "forget", epoch):
                wrong = (batch.labels + turns[batch.index]) % classes
                yield F.cross_entropy(task.logits(batch), wrong)
            for batch in task.retain.shuffled(task.seed, "retain", epoch):
                yield self.alpha * F.cross_entropy(task.logits(batch), batch.labels)
            return
        for batch in joined(task.forget, task.retain).shuffled(task.seed, "both", epoch):
            forgotten = (batch.index < count).to(task.device)  # (B,)
            turn = turns[batch.index.clamp(max=count - 1)] * forgotten
            each = F.cross_entropy(
                task.logits(batch), (batch.labels + turn) % classes, reduction="none"
            )
            yield torch.where(forgotten, each, self.alpha * each).mean()


def label_turns(count: int, classes: int, *key: int | str, other: bool) -> Tensor:
    """How far to turn each label around the circle of classes, (count,), int64 on CPU.

    Uniform over the C - 1 other classes, or over all C of them.

    Raises:
        ConfigError: there is no other class.
    """
    if other and classes < 2:
        raise ConfigError(f"the model has {classes} output; random labels need 2 classes or more")
    return torch.randint(int(other), classes, (count,), generator=generator_for(*key))
