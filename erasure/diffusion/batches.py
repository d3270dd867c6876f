"""Where the samples of a step come from: pictures of the concept, or the model's own rollouts.

A source has an endless stream of samples. What a sample is depends on its place in the stream and
on the seed alone, so however the stream is cut into passes, shared among processes or resumed, it
gives the same samples.
"""

# B samples, C x H x W latents.

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor

from erasure.architectures.labels.label_encoder import require_class
from erasure.diffusion.data.concept_data import ConceptData, Pulls
from erasure.diffusion.data.latents import Draw, Noised, noised
from erasure.diffusion.data.shuffling import interleaved, shuffled
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.sample import (
    guided_answer,
    sampling_step,
    sampling_times,
    step_pairs,
)
from erasure.diffusion.schedule import Schedule
from erasure.errors import ConfigError
from erasure.seeds import generator_for
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.work import Tally

B_co = TypeVar("B_co", covariant=True)


class BatchSource(Protocol[B_co]):
    """An endless stream of samples."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample's latents, (C, H, W)."""
        ...

    def at(self, position: int, count: int, student: Denoiser, frozen: FrozenDenoiser, /) -> B_co:
        """The samples `position` to `position + count`, on the device of the network."""
        ...


@dataclass(frozen=True, slots=True)
class PictureBatch:
    """Noised pictures."""

    forget: Noised
    replacement: Condition
    """What each forget sample should be taken for, (B, ...)."""
    retain: Noised | None
    """None where there is nothing to retain; of any size."""


@dataclass(frozen=True, slots=True)
class PictureBatches:
    """Samples of the encoded pictures: a picture, a time and noise each."""

    data: ConceptData
    schedule: Schedule
    seed: int
    device: torch.device

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample's latents, (C, H, W)."""
        return self.data.latent_shape

    def at(
        self, position: int, count: int, student: Denoiser, frozen: FrozenDenoiser, /
    ) -> PictureBatch:
        """As many forget as retain samples; neither network is asked anything."""
        data, seed = self.data, self.seed
        groups = data.groups(data.forget.prompt)
        rows = interleaved(groups, position, count, seed, "forget order")
        keys = [(seed, "forget", position + n) for n in range(count)]
        forget = noised(data.forget, data.prompts, self.schedule, list(map(Draw, rows, keys)))
        options = data.replacements.shape[1]
        picks = [
            int(torch.randint(options, (1,), generator=generator_for(*key, "replacement")))
            for key in keys
        ]
        replacement = data.prompts[data.replacements[rows, picks]]
        retain = None
        if len(data.retain):
            chosen = shuffled(len(data.retain), position, count, seed, "retain order")
            keys = [(seed, "retain", position + n) for n in range(count)]
            draws = list(map(Draw, chosen, keys))
            retain = noised(data.retain, data.prompts, self.schedule, draws)
            retain = retain.to(self.device, torch.float32)
        return PictureBatch(
            forget.to(self.device, torch.float32),
            replacement.to(self.device, torch.float32),
            retain,
        )


@dataclass(frozen=True, slots=True)
class Rollout:
    """Partly denoised latents that a model drew of the concept; no picture stands behind them."""

    x_t: Tensor
    """(B, C, H, W)"""
    t: Tensor
    """(B,) the time whose noise level `x_t` has, as the model is told it."""
    concept: Condition
    """What was drawn, (B, ...)."""
    replacement: Condition
    """What may stand in for it, (B, ...)."""
    empty: Condition
    """The empty prompt, (B, ...)."""
    pull: "PulledBy | None" = None
    """Where the prompts come with others that say what becomes of them."""
    asked: Condition | None = None
    """What the network in training is asked where that is not `concept`, (B, ...)."""

    def __len__(self) -> int:
        return len(self.x_t)


@dataclass(frozen=True, slots=True)
class PulledBy:
    """What each sample of a rollout is pulled by; see `Pulls` of the concept data."""

    positive: Condition
    """(B, ...)"""
    unconditional: Condition
    """(B, ...)"""
    neutral: Condition
    """(B, ...)"""
    strength: Tensor
    """(B,) float32"""
    weight: Tensor
    """(B,) float32"""


@dataclass(frozen=True, slots=True)
class RolloutBatches:
    """Samples that a network draws itself, from noise to a random step under a forget prompt.

    The k of every sample is uniform on the S times of the sampler, and the sample is then at the
    noise level of `times[k]`: that time is told with it. Released code of several methods tells a
    later time than the latents are at.
    """

    data: ConceptData
    """With the concept's prompts; of its pictures only the latents' shape is read."""
    schedule: Schedule
    seed: int
    device: torch.device
    steps: int = 50
    """S, of the whole sampling."""
    guidance: float = 3.0
    """g of the guided prediction in e(empty) + g (e(c) - e(empty)); 1 is none. Where prompts come
    with what they are pulled by, its unconditional prompt stands for the empty one."""
    by: Literal["student", "frozen"] = "student"
    """Who draws: the network in training, or the base."""
    least: int = 0
    """Fewest steps of a rollout."""
    most: int | None = None
    """Most steps of a rollout; one less than `steps` if none, which leads to the last time."""
    ordered_by: int | None = None
    """Seed of the order of the prompts, where it is not `seed`."""
    tally: Tally | None = field(default=None, compare=False)
    """Counts the rollouts, where somebody wants to know."""

    def __post_init__(self) -> None:
        require_class(self.data.prompts[torch.tensor([0])])
        sampling_times(self.schedule, self.steps)
        if not 0 <= self.least <= self._most < self.steps:
            raise ConfigError(
                f"rollouts take {self.least} to {self._most} steps; give a range within 0 to "
                f"{self.steps - 1}"
            )

    @property
    def _most(self) -> int:
        return self.steps - 1 if self.most is None else self.most

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample's latents, (C, H, W)."""
        return self.data.latent_shape

    @torch.no_grad()
    def at(
        self, position: int, count: int, student: Denoiser, frozen: FrozenDenoiser, /
    ) -> Rollout:
        """Draw `count` samples; those with fewer steps leave the passes early."""
        texts = self.data.require_texts()
        if self.tally is not None:
            self.tally.count(rolled_out=count)
        draws = [self._draw(position + n) for n in range(count)]
        chosen = torch.tensor([draw.prompt for draw in draws])
        rows = texts.forget[chosen]
        stand_ins = texts.replacements[chosen, [draw.replacement for draw in draws]]
        concept = self._told(rows)
        empty = self._told(torch.zeros(count, dtype=torch.int64))
        pull = None if texts.pulls is None else self._pulled(texts.pulls[chosen])
        times = sampling_times(self.schedule, self.steps)
        ends = torch.tensor([draw.end for draw in draws])
        noise = torch.stack([draw.noise for draw in draws]).to(self.device)
        denoise, block = (
            (student, nullcontext()) if self.by == "student" else (frozen, frozen.held())
        )
        with block:
            away = empty if pull is None else pull.unconditional
            x_t = self._rolled(denoise, times, ends, noise, concept, away)
        return Rollout(
            x_t, times[ends].to(self.device), concept, self._told(stand_ins), empty, pull
        )

    def _told(self, rows: Tensor) -> Condition:
        """Rows of the prompt table, on the device."""
        return self.data.prompts[rows].to(self.device, torch.float32)

    def _pulled(self, pulls: Pulls) -> PulledBy:
        return PulledBy(
            self._told(pulls.positive),
            self._told(pulls.unconditional),
            self._told(pulls.neutral),
            pulls.strength.to(self.device),
            pulls.weight.to(self.device),
        )

    def _draw(self, place: int) -> "_Start":
        """The random part of one sample, from its own stream."""
        texts = self.data.require_texts()
        generator = generator_for(self.seed, "rollout", place)
        # Rows of a trainer's file are no concept's own: each is as frequent as any other.
        every = [list(range(len(texts.forget)))]
        groups = self.data.groups(texts.forget) if texts.pulls is None else every
        order = self.seed if self.ordered_by is None else self.ordered_by
        (prompt,) = interleaved(groups, place, 1, order, "rollout order")
        options = texts.replacements.shape[1]
        return _Start(
            prompt,
            int(torch.randint(options, (1,), generator=generator)),
            int(torch.randint(self.least, self._most + 1, (1,), generator=generator)),
            torch.randn(self.data.latent_shape, generator=generator),
        )

    def _rolled(
        self,
        denoise: Denoiser,
        times: Tensor,
        ends: Tensor,
        latents: Tensor,
        concept: Condition,
        away: Condition,
    ) -> Tensor:
        """Latents (B, C, H, W) of noise at `times[ends]`."""
        rolled = latents.clone()
        running = torch.arange(len(ends))
        for step, (now, after) in enumerate(_until(times, int(ends.max()))):
            running = running[ends[running] > step]
            x_t, rows = rolled[running], running.to(rolled.device)
            t = torch.full((len(rows),), now, device=rolled.device)
            answer = guided_answer(denoise, x_t, t, concept[rows], away[rows], self.guidance)
            rolled[running] = sampling_step(self.schedule, x_t, answer.float(), now, after)
        return rolled


@dataclass(frozen=True, slots=True)
class _Start:
    """What is drawn for one rollout before the network is asked."""

    prompt: int
    replacement: int
    end: int
    noise: Tensor
    """(C, H, W)"""


def _until(times: Tensor, end: int) -> Iterator[tuple[float, float]]:
    """The first `end` steps."""
    yield from step_pairs(times)[:end]
