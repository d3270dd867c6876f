"""One erasure as a method sees it: the model, the concept, the mask, and how to change weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from erasure.architectures.building import schedule_of
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.batches import BatchSource, PictureBatches
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.keeper import Keeper
from erasure.diffusion.precision import Precision
from erasure.diffusion.schedule import Schedule
from erasure.masks.masks import SaliencyMask
from erasure.moving.component import moving_of
from erasure.solving.factors import Factors
from erasure.storage.tensors.mapped import let_go
from erasure.team import ALONE, Team
from erasure.training.objective import Objective
from erasure.training.step import Step
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from erasure.training.unseen import Curve, UntilUnseen, Watching
from erasure.training.weights.low_rank import LowRank, LowRankWeights
from erasure.training.weights.split import Combine
from erasure.work import Tally, Work

B = TypeVar("B")


@dataclass(slots=True)
class Outcome:
    """What a method has done so far."""

    values: dict[str, Tensor] = field(default_factory=dict)
    """Name of a weight -> its new value, of the weight's shape, in float32 or wider; values where
    the mask does not select are not taken."""
    trained: Mapping[str, Tensor] = field(default_factory=dict)
    """The same of what a training moved, where `values` has none: read from the network one after
    the other, so that they are not all there a second time."""
    precision: Precision = "fp32"
    """Type of the network that the values were read from."""
    factors: dict[str, Factors] = field(default_factory=dict)
    """Name of a weight -> its change as a thin product, of weights that are free in full."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else the record should say of the run: plain JSON values."""
    curve: Curve | None = None
    """What was seen in the course of a training that somebody looked at."""
    work: Work | None = field(default_factory=Work)
    """What the trainings took in all processes; None where a resumed one does not know."""

    def value_of(self, name: str) -> Tensor | None:
        """The new value of a weight; None where it has none."""
        if name in self.values:
            return self.values[name]
        return self.trained[name] if name in self.trained else None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Task:
    """A checkpoint, what it should forget, and the weights that may move; made by `erase`."""

    checkpoint: Checkpoint
    """The base; its tensors stay as they are."""
    data: ConceptData
    """What the method named among its needs: pictures, prompts, or both; where a text encoder
    moves, as `erasure.moving.component.data_for` has them."""
    mask: SaliencyMask
    """Which weights of this checkpoint may change."""
    device: torch.device
    checkpointing: bool = False
    """Recompute activations in backward passes."""
    stream: bool = False
    """Keep the blocks of the main component in main memory while they do not compute."""
    origin: Mapping[str, Tensor] | None = None
    """Weights of the base that answers where a training asks one; the checkpoint itself if none."""
    low_rank: LowRank | None = None
    """Lets factors of the mask's layers move in place of their weights; None moves the weights."""
    team: Team = ALONE
    """With whom the work is shared; all are given the same task."""
    keeper: Keeper = field(default_factory=Keeper)
    """Where a training is kept, and what it continues from."""
    tally: Tally = field(default_factory=Tally)
    """Counts what a method has computed in this process outside of `train`, and what its batches
    draw."""
    until: UntilUnseen | None = None
    """What looks at a training and may end it before its last step."""
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def component(self) -> str:
        """Which component moves."""
        return self.mask.info.component

    @property
    def schedule(self) -> Schedule:
        """The forward process of the model."""
        return schedule_of(self.checkpoint)

    def pictures(self, settings: TrainConfig) -> PictureBatches:
        """Batches of the encoded pictures, in an order that the settings' seed decides.

        Raises:
            ConfigError: the task has no picture to forget.
        """
        self.data.require_pictures()
        return PictureBatches(self.data, self.schedule, settings.seed, self.device)

    def train(
        self,
        settings: TrainConfig,
        batches: BatchSource[B],
        objective: Objective[B],
        *,
        needs_frozen: bool = False,
        average_decay: float = 1.0,
        combine: Combine | None = None,
    ) -> Iterator[Step]:
        """Minimise an objective over the selected weights, and take the result.

        A run that was cut goes on where it was: the steps that it took before come first.

        Args:
            settings: how far and how fast.
            batches: gives the samples.
            needs_frozen: whether `batches` or `objective` ask the base.
            average_decay: below 1, a moving average of the selected weights answers in the base's
                place, and is the result.
            combine: makes one gradient of those of the forget and the retain loss, in place of
                their sum.

        Raises:
            TrainingError: see `erasure.training.trainer.MaskedTrainer.steps`, and where the saved
                states are damaged or belong to another run.
        """
        moving = moving_of(
            self.checkpoint,
            self.component,
            self.device,
            self.tally,
            precision=settings.precision,
            stream=self.stream,
        )
        network = moving.network
        if self.checkpointing:
            moving.recompute()
        trainer = MaskedTrainer(
            network,
            moving.denoiser,
            batches,
            self.mask.entries,
            objective=objective,
            config=settings,
            needs_frozen=needs_frozen,
            average_decay=average_decay,
            combine=combine,
            origin=self.origin,
            low_rank=self.low_rank,
            team=self.team,
            tally=self.tally,
            main=moving.main,
            text=moving.text,
            start=self.checkpoint.components[self.component],
            homes=moving.streamed.homes if moving.streamed else None,
        )
        watching = None if self.until is None else Watching(self.until, trainer)
        yield from self.keeper.begin(trainer, self.team, [watching] if watching else ())
        let_go(
            self.checkpoint.components[self.component].values()
        )  # the network holds a copy, and all hashes are made
        yield from watching.steps() if watching else trainer.steps()
        self.outcome.curve = watching.curve() if watching else None
        if self.outcome.work is not None:
            self.outcome.work = None if trainer.work is None else self.outcome.work + trainer.work
        if moving.streamed is not None:
            moving.streamed.restore()
        trained = trainer.trained()
        trainer.selected.release()
        self.keeper.end()
        if isinstance(trainer.selected, LowRankWeights):
            self._merge(trainer.selected)
            return
        self.outcome.precision = settings.precision
        self.outcome.trained = trained
        del trainer, watching  # what is proved next needs the room of its moments and gradients

    def _merge(self, factors: LowRankWeights) -> None:
        """Take the base's own weights with the change of their factors added, whatever the
        precision of the passes."""
        self.outcome.factors.update(factors.factors())
        vectors = factors.vectors.values()
        self.outcome.facts["numbers_of_the_factors"] = sum(v.numel() for v in vectors)
        for name, change in factors.changes():
            base = self.checkpoint.components[self.component][name]
            kind = torch.promote_types(base.dtype, torch.float32)
            self.change({name: (base.double() + change).to(kind)})

    def change(self, values: Mapping[str, Tensor]) -> None:
        """Take new values of weights; where the mask does not select, the base's bits stay."""
        self.outcome.values.update(values)
