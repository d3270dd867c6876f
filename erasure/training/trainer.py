"""The masked trainer: steps that move the selected weights and no other."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from erasure.architectures.architecture import PromptEncoder
from erasure.diffusion.batches import BatchSource
from erasure.diffusion.denoiser import Denoiser
from erasure.diffusion.precision import (
    PRECISIONS,
    InPrecision,
    Precision,
    autocast_of,
    passes_in,
    wide,
)
from erasure.errors import ConfigError
from erasure.masks.positions import Positions
from erasure.memory import memory_errors
from erasure.team import ALONE, Team, share_of
from erasure.training.clock import cosine, warming
from erasure.training.frozen import FrozenDenoiser
from erasure.training.loop import Ready, train
from erasure.training.low_rank import LowRank, LowRankWeights
from erasure.training.optimizers import make_optimizer, require_optimizer
from erasure.training.selected import SelectedWeights
from erasure.training.split import Combine, SplitGradients
from erasure.training.step import Step
from erasure.training.trainables import Trainables
from erasure.training.unseen import InTraining
from erasure.work import Counted, Tally, Work


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How far and how fast the selected weights move.

    The methods that train by gradient have these settings too.

    Raises:
        ConfigError: a setting is outside its range.

    Examples:
        >>> TrainConfig(steps=100, micro_batch=2).learning_rate
        1e-05
    """

    steps: int = 600
    """Optimiser steps, not epochs."""
    batch_size: int = 8
    """Forget samples a step, and as many retain samples; of all processes together."""
    micro_batch: int | None = None
    """Samples a pass of one process: less memory, same result. Gradients are accumulated where it
    is smaller than the process's part of `batch_size`."""
    learning_rate: float = 1e-5
    """Learning rate of the optimiser, after the warm-up."""
    warmup: int = 0
    """Steps of linear warm-up, below the full rate; the step after them is the first at it."""
    decay: Literal["constant", "cosine"] = "constant"
    """What the rate does after the warm-up. A cosine begins at the full rate in the first step
    after the warm-up and is zero in the last one; where only one step follows the warm-up, it has
    the full rate, and where none does, there is no decay."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """The optimiser of torch by this name."""
    weight_decay: float = 0.0
    """Weight decay of the selected weights; no other weight decays."""
    momentum: float = 0.9
    """Only read by SGD."""
    moments: Literal["fp32", "8bit"] = "fp32"
    """Numbers of the optimiser's state; 8bit takes 2 bytes a selected weight, not 8, and needs
    bitsandbytes."""
    clip_norm: float | None = None
    """Largest norm of the selected gradients together."""
    precision: Precision = "fp32"
    """Precision of the passes; the selected weights are always float32. With `bf16` the products
    are rounded, with `bf16-weights` the network they are put into as well: half its memory."""
    seed: int = 0
    """Seed of the samples: their order, times and noise."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give 1 or more")
        require_optimizer(self, rate="learning_rate")
        if not self.warmup >= 0:
            raise ConfigError(f"warmup is {self.warmup}; give 0 or more")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ConfigError(f"clip_norm is {self.clip_norm}; give more than 0, or none")
        if self.micro_batch is not None and not 1 <= self.micro_batch <= self.batch_size:
            raise ConfigError(
                f"micro_batch is {self.micro_batch}; give 1 to {self.batch_size}, the batch_size"
            )
        for name, known in (
            ("precision", PRECISIONS),
            ("moments", ("fp32", "8bit")),
            ("decay", ("constant", "cosine")),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; give one of {known}")
        if self.moments == "8bit":
            self._check_eight_bit()

    def _check_eight_bit(self) -> None:
        if self.optimizer == "sgd" and not self.momentum:
            raise ConfigError("moments is '8bit', but SGD without momentum has none; give 'fp32'")
        if self.optimizer == "adam" and self.weight_decay:
            raise ConfigError(
                f"moments is '8bit' and weight_decay {self.weight_decay}: the 8-bit Adam decays "
                "weights as AdamW does, so give optimizer 'adamw', or moments 'fp32'"
            )

    def rate(self, index: int) -> float:
        """Learning rate of the step that follows `index` others."""
        if index < self.warmup:
            return warming(self.learning_rate, index, self.warmup)
        after = self.steps - 1 - self.warmup
        if self.decay == "constant" or after < 1:
            return self.learning_rate
        progress = (index - self.warmup) / after
        return cosine(self.learning_rate, math.pi * progress)


B_contra = TypeVar("B_contra", contravariant=True)
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Loss:
    """Both parts, weighted; their sum is minimised."""

    forget: Tensor
    """()"""
    retain: Tensor
    """()"""

    @property
    def total(self) -> Tensor:
        """()"""
        return self.forget + self.retain


class Objective(Protocol[B_contra]):
    """What a step minimises; owns its settings, never weights or devices."""

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: B_contra, /) -> Loss:
        """Losses that are means over samples and elements.

        Args:
            student: the network in training.
            frozen: the base's answers, to be asked before the student's pass with a gradient.
        """
        ...


class Trained(Mapping[str, Tensor]):
    """Name -> weight of a network that was trained, float32 or wider on the CPU, made when it is
    asked for: a second copy of the whole network is never there."""

    def __init__(
        self, network: nn.Module, rows: Mapping[str, Positions], selected: Mapping[str, Tensor]
    ) -> None:
        """Hold the network, which may be of bfloat16.

        Args:
            network: with the values of `selected` in it, rounded to its type.
            rows: where they lie in it.
            selected: a vector for each weight that moved.
        """
        self._weights = dict(network.state_dict())
        self._rows = rows
        self.selected = {name: value.detach() for name, value in selected.items()}

    @torch.no_grad()
    def __getitem__(self, name: str) -> Tensor:
        value = wide(self._weights[name].detach().cpu())
        if value.dtype != self._weights[name].dtype and name in self._rows:
            flat, places = value.flatten(), self._rows[name].indices().long().cpu()
            value = flat.index_copy(0, places, self.selected[name].cpu()).view(value.shape)
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._weights

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


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
        """Let `widen` put these values in, which `values` gave after an earlier step."""
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

    def trained(self) -> "Trained":
        """The weights of the network in float32, each when it is asked for, the selected ones
        unrounded, or their average where one is kept, or what they were settled on; no step may
        follow."""
        chosen = self.frozen.average if self._settled is None else self._settled
        self.selected.write({name: value.to(self._device) for name, value in chosen.items()})
        rows = self.selected.rows if isinstance(self.selected, SelectedWeights) else {}
        return Trained(self._network, rows, {**self.values(), **chosen})

    @torch.no_grad()
    def widen(self) -> nn.Module:
        """The network in float32 with the values of `trained`; no step may follow."""
        values = self.trained()
        if self.config.precision == "bf16-weights":
            self._network.float()
            self.selected.write(values.selected)
        return self._network

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
