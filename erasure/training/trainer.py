"""The masked trainer: steps that move the selected weights and no other."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from erasure.architectures.encoders import PromptEncoder
from erasure.diffusion.batches import BatchSource
from erasure.diffusion.denoiser import Denoiser
from erasure.diffusion.precision import (
    InPrecision,
    autocast_of,
    passes_in,
)
from erasure.memory import memory_errors
from erasure.team import ALONE, Team, share_of
from erasure.training.loop import Ready, train
from erasure.training.objective import Objective
from erasure.training.optimizers import make_optimizer
from erasure.training.step import Step
from erasure.training.train_config import TrainConfig
from erasure.training.unseen import InTraining
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.training.weights.low_rank import LowRank, LowRankWeights
from erasure.training.weights.selected import SelectedWeights
from erasure.training.weights.split import Combine, SplitGradients
from erasure.training.weights.trainables import Trainables
from erasure.training.weights.trained import Trained
from erasure.work import Counted, Tally, Work

B = TypeVar("B")


class MaskedTrainer(Generic[B]):
    """Moves the selected weights of one network; a generator of steps.

    On a team, each process takes its part of every batch and the gradients of the selected weights
    are added up, so that all take the same step. What a sample looks like depends on its place in
    the whole stream alone, so the steps are those of one process, but for rounding.
    """

    def __init__(
        self,
        network: nn.Module,
        wrap: Callable[[nn.Module], Denoiser],
        batches: BatchSource[B],
        mask: Mapping[str, Tensor],
        *,
        objective: Objective[B],
        config: TrainConfig,
        needs_frozen: bool = False,
        average_decay: float = 1.0,
        combine: Combine | None = None,
        origin: Mapping[str, Tensor] | None = None,
        low_rank: LowRank | None = None,
        team: Team = ALONE,
        tally: Tally | None = None,
        main: nn.Module | None = None,
        text: PromptEncoder | None = None,
        start: Mapping[str, Tensor] | None = None,
        homes: Mapping[nn.Parameter, Tensor] | None = None,
    ) -> None:
        """Prepare; nothing moves yet.

        Args:
            network: whose parameters the mask names; trained in place, on its own device.
            wrap: makes a denoiser of a network of this kind.
            batches: gives the samples of each pass.
            mask: bool tensors by parameter name.
            needs_frozen: whether the objective or the batches ask the base; its values of the
                selected weights are then kept.
            average_decay: below 1, the base's values follow the student as a moving average,
                which is then what comes out.
            combine: makes one gradient of those of the forget and the retain loss; without, it is
                that of their sum, in one backward pass.
            origin: name -> value of every parameter of another base, which answers where this
                network's own start would.
            low_rank: lets factors of the mask's layers move in place of their weights.
            team: with whom the batches are shared; all are given the same.
            main: the main component, where `network` is a text encoder.
            text: the text encoders, where `network` is one of them.
            tally: counts the passes of this process; given where the batches count in it as well.
            start: name -> the weights of `network` as they were before they were rounded to its
                type, which the selected ones begin with.
            homes: parameter -> where its values lie, of those that hold none themselves.

        Raises:
            MaskError: the mask does not fit the network.
            ConfigError: the mask or the rank suits no factors.
        """
        self.config, self._team, self._combine = config, team, combine
        self._batches, self._objective = batches, objective
        self._tally = tally or Tally()
        self._uncounted = InPrecision(wrap(network), config.precision)
        self._denoise = Counted(self._uncounted, self._tally)
        self._network, self._device = network, next(network.parameters()).device
        self._main, self._text = main or network, text
        self.selected: Trainables = (
            SelectedWeights(network, mask, start, homes)
            if low_rank is None
            else LowRankWeights(network, mask, low_rank, seed=config.seed)
        )
        self.frozen = FrozenDenoiser(
            self._denoise,
            self.selected,
            needed=needs_frozen,
            decay=average_decay,
            origin=None if origin is None else self._differing(origin),
        )
        if config.precision == "bf16-weights":  # the selected weights have been read unrounded
            nn.Module.to(network, torch.bfloat16)  # that of diffusers warns
        vectors, rate = self.selected.vectors.values(), config.learning_rate
        self.optimizer = make_optimizer(config, vectors, rate, fused=True, moments=config.moments)
        self.done = 0
        """Steps taken so far."""
        self.work: Work | None = Work()
        """What these steps took, in all processes; None where a resumed state does not say."""
        self._settled: Mapping[str, Tensor] | None = None

    def _differing(self, origin: Mapping[str, Tensor]) -> dict[nn.Parameter, Tensor]:
        """The values of the origin of what moves here, and of what is another there."""
        return {
            parameter: origin[name].to(self._device, torch.float32)
            for name, parameter in self._network.named_parameters()
            if name in self.selected.vectors
            or not torch.equal(parameter.detach().cpu(), origin[name].to(parameter.dtype))
        }

    def values(self) -> Mapping[str, Tensor]:
        """What would come out now, by the names of `selected.vectors`: the values that move, or
        their average where one is kept."""
        return self.frozen.average or self.selected.vectors

    def settle(self, values: Mapping[str, Tensor]) -> None:
        """Let `trained` give these values, which `values` gave after an earlier step."""
        self._settled = values

    @contextmanager
    def showing(self) -> Iterator[InTraining]:
        """Hold `values` in the network for a block, to draw with it; no step may come within."""
        self.selected.write(self.frozen.average)
        try:
            yield InTraining(self._main, self._uncounted, self._text)
        finally:
            if self.frozen.average:
                self.selected.write_back()

    def trained(self) -> Trained:
        """The weights of the network in float32, each when it is asked for, the selected ones
        unrounded, or their average where one is kept, or what they were settled on; no step may
        follow."""
        chosen = self.frozen.average if self._settled is None else self._settled
        self.selected.write({name: value.to(self._device) for name, value in chosen.items()})
        rows = self.selected.rows if isinstance(self.selected, SelectedWeights) else {}
        return Trained(self._network, rows, {**self.values(), **chosen})

    def steps(self) -> Iterator[Step]:
        """Take the remaining steps, yielding after each; the caller may stop at any time.

        Raises:
            TrainingError: the loss or a gradient is not finite, the passes do not fit into the
                memory, or another process is gone; no weight has moved in that step.
        """
        return train(
            self.selected,
            self.optimizer,
            self._ready(),
            remedy="lower learning_rate, bound the ascent, or use fp32",
            clip_norm=self.config.clip_norm,
        )

    def _ready(self) -> Iterator[Ready]:
        """The batches that remain, by steps."""
        config = self.config
        while (index := self.done) < config.steps:
            # What fails here may leave half a step: it must not look like one that was not taken.
            with memory_errors(f"in step {index + 1} of {config.steps}"):
                forget, retain, work = self._accumulate(index)
            step = Step(index + 1, forget + retain, forget, retain)
            yield Ready(step, config.rate(index), partial(self._taken, work))

    def _taken(self, work: Work) -> None:
        """Count a step that the vectors have moved by."""
        self.frozen.follow()
        self.done += 1
        if self.work is not None:
            self.work += work

    def _accumulate(self, index: int) -> tuple[float, float, Work]:
        """Gradients, losses (forget and retain) and the work of one batch of the whole team.

        Every pass counts by its share of the batch, however the batch is cut, so sums are means.
        """
        config = self.config
        mine = share_of(self._team, config.batch_size)
        size = config.micro_batch or config.batch_size
        losses = torch.zeros(2, dtype=torch.float64)
        split = SplitGradients(self.selected.vectors) if self._combine else None
        for start in mine[::size]:
            count = min(size, mine.stop - start)
            share = count / config.batch_size
            with autocast_of(config.precision, self._device):
                place = index * config.batch_size + start
                batch = self._batches.at(place, count, self._denoise, self.frozen)
                loss = self._objective(self._denoise, self.frozen, batch)
            attention = passes_in(config.precision, self._batches.shape, self._device)
            with attention:  # where passes are recomputed
                if split is None:
                    torch.autograd.backward(share * loss.total)
                else:
                    split.backward(share * loss.forget, share * loss.retain)
            losses[0] += share * float(loss.forget.detach())
            losses[1] += share * float(loss.retain.detach())
        work = self._tally.take().row()
        self._team.sum_([losses, work])
        if split is None or self._combine is None:
            self.selected.sum_gradients(self._team)
        else:
            split.put(self._combine, self._team)
        return float(losses[0]), float(losses[1]), Work.of_row(work)
