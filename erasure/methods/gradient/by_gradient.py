"""The families of methods that train the selected weights by gradient."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from erasure.diffusion.batches import RolloutBatches
from erasure.diffusion.task import Task
from erasure.masks.masks import SaliencyMask
from erasure.methods.protocol import Need
from erasure.setting_checks import require_counts
from erasure.training.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ByGradient(TrainConfig):
    """Settings of the optimiser, to which a method adds its own."""

    def length(self, mask: SaliencyMask, /) -> int:
        """Steps of the optimiser."""
        return self.steps


@dataclass(frozen=True, kw_only=True, slots=True)
class ByRollout(ByGradient):
    """Settings of methods that learn from latents which a network draws itself."""

    drawn: ClassVar[int] = 1
    """Rollouts a sample."""
    learned: ClassVar[int] = 1
    """Passes a sample with a gradient."""
    asked: ClassVar[int] = 2
    """Passes a sample without one, beside the rollouts."""

    batch_size: int = 1
    """Rollouts a step; of all processes together."""
    rollout_steps: int = 50
    """Steps of the whole sampling, of which a rollout takes a random number."""
    rollout_guidance: float = 3.0
    """g of e(empty) + g (e(c) - e(empty)) in the rollouts; 1 is none."""

    @property
    def needs(self) -> frozenset[Need]:
        """Prompts, and the answers of a second set of the selected values: the base's, as target,
        or a teacher's."""
        return frozenset({"prompts", "frozen"})

    @property
    def counted(self) -> tuple[int, int, int]:
        """Rollouts, passes with a gradient and passes without one, of a sample."""
        return self.drawn, self.learned, self.asked

    @property
    def rollout_passes(self) -> int:
        """Passes of a sample's rollouts, on average: each takes half of the sampling's steps, of
        two passes."""
        return self.counted[0] * self.rollout_steps

    def __post_init__(self) -> None:
        ByGradient.__post_init__(self)
        require_counts(self, "rollout_steps")

    def rollouts(self, task: Task, by: Literal["student", "frozen"]) -> RolloutBatches:
        """Samples of the concept's prompts.

        Args:
            task: whose data hold the prompts.
            by: who draws, the network in training or the one that `frozen` asks.
        """
        return RolloutBatches(
            task.data,
            task.schedule,
            self.seed,
            task.device,
            steps=self.rollout_steps,
            guidance=self.rollout_guidance,
            by=by,
            tally=task.tally,
        )
