"""SalUn: random labels, taught to the salient weights alone; and its soft variant."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from erasure.classifiers.data.saliency import classifier_saliency
from erasure.classifiers.methods.gradient.random_label import RandomLabel
from erasure.classifiers.protocol import Task
from erasure.errors import ConfigError
from erasure.masks.masks import SaliencyMask, salient_mask
from erasure.masks.selection import check_density
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class SalUn(RandomLabel):
    """Random labels on the share of the weights whose forget gradient is largest.

    `unlearn` asks `make_mask` for the mask where it is given none; a mask made once by
    `classifier_saliency` and `salient_mask`, or one of the controls, serves as well.

    Source: arXiv:2310.12508, saliency map with a hard threshold, and the random-label objective.
        Density and rate are those of its released example for 10 % of CIFAR-10. It differs from
        the release as `RandomLabel` and `classifier_saliency` do; unselected weights are put back
        after each step there, and here no optimiser sees them.
    """

    name: ClassVar[str] = "salun"
    source: ClassVar[str] = "arXiv:2310.12508, SalUn"
    lr: float = 0.013
    density: float = 0.5
    """Share of the trainable weights that may move, ranked over all layers together."""

    def __post_init__(self) -> None:
        RandomLabel.__post_init__(self)
        check_density(self.density)

    def make_mask(self, task: Task, /) -> SaliencyMask:
        """The most salient weights of the model as it is."""
        return salient_mask(classifier_saliency(task.model, task.forget), self.density)


@dataclass(frozen=True, kw_only=True, slots=True)
class SalUnSoft(RandomLabel):
    """Random labels under a penalty on |weight - original|, by proximal steps: no mask to choose.

    After each step the changes shrink by a threshold, and those below it vanish. The threshold is
    the r-th smallest change, r = share (1 - e / E) N, so it falls with the epochs e.

    Source: arXiv:2310.12508, soft-thresholding SalUn, and its released code. There the changes
        are counted from the start of each epoch, so that what one epoch moved the next no longer
        draws back; here from the original weights, as in the paper. The paper reports it as not
        better than the hard mask. Rate and share are values chosen for 10 % of CIFAR-10 by a
        later study of the release.
    """

    name: ClassVar[str] = "salun-soft"
    source: ClassVar[str] = "arXiv:2310.12508, soft-thresholding SalUn"
    lr: float = 5e-4
    share: float = 0.1
    """Share of the moving weights that go back to where they were after the first steps."""

    def __post_init__(self) -> None:
        RandomLabel.__post_init__(self)
        if not 0 <= self.share <= 1:
            raise ConfigError(f"share is {self.share}; give 0 to 1")

    def steps(self, task: Task, /) -> Iterator[Step]:
        """One step a batch of either set, each followed by a shrinking."""
        return task.descend(
            self, lambda epoch: self.losses(task, epoch), after_step=self._shrinking(task)
        )

    def _shrinking(self, task: Task) -> Callable[[Mapping[str, Tensor], int], None]:
        start = {name: weight.detach().clone() for name, weight in task.model.named_parameters()}
        if task.mask is not None:
            chosen = task.mask.entries
            start = {name: start[name][chosen[name].to(task.device)] for name in chosen}

        def shrink(moving: Mapping[str, Tensor], epoch: int) -> None:
            origin = {name: start[name].to(tensor.dtype) for name, tensor in moving.items()}
            changes = {name: tensor - origin[name] for name, tensor in moving.items()}
            total = sum(change.numel() for change in changes.values())
            rank = int(self.share * (1 - epoch / self.epochs) * total)
            if rank == 0:
                return
            for name, change in soft_threshold(changes, rank).items():
                # Where nothing is left of a change, the original's bits and not a sum's.
                moving[name].copy_(torch.where(change == 0, origin[name], origin[name] + change))

        return shrink


def soft_threshold(changes: Mapping[str, Tensor], rank: int) -> dict[str, Tensor]:
    """sign(d) max(|d| - tau, 0) of every change d, tau being the `rank`-th smallest |d| of all.

    Args:
        rank: from 1 to the number of values.
    """
    sizes = torch.cat([change.abs().flatten() for change in changes.values()])
    threshold = torch.kthvalue(sizes, rank).values
    return {
        name: change.sign() * (change.abs() - threshold).clamp(min=0)
        for name, change in changes.items()
    }
