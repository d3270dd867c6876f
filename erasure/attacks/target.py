"""What an attack sees: one model with a concept, never the judge and never the fresh seeds."""

# B samples, N pictures, C x h x w latents, H x W pixels, L tokens.

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from erasure.architectures.architecture import Architecture
from erasure.architectures.encoders import Codec, PromptEncoder
from erasure.architectures.labels.classes import Classes
from erasure.attacks.payload import Case, Cost, Payload, Rows
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.schedule import NoiseSchedule, RectifiedFlow, Schedule
from erasure.errors import ConfigError
from erasure.moving.homes import Homes, learned_at, weights_at


@dataclass(frozen=True, slots=True)
class Wording:
    """A prompt that means the concept without being one of the plain prompts."""

    kind: str
    """`synonym`, `indirect`, `typo`, `language` and so on; the attempts are counted by it."""
    prompt: str
    held_out: bool | None = None
    """Whether the eraser was not trained on it; None where nobody knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Concept:
    """What was erased, in words or as a class; of a model of classes, each prompt is one."""

    name: str
    prompts: tuple[str, ...]
    """Plain prompts that ask for it; at least one."""
    names: tuple[str, ...] = ()
    """What prompts call it, such as each thing of a group; its own name if none is told."""
    wordings: tuple[Wording, ...] = ()
    """Other ways of asking for it."""
    pairs: tuple[tuple[str, str], ...] = ()
    """A prompt with the concept, and the same without it."""
    replacement: str = ""
    """A prompt of what may be drawn in its place."""
    others: tuple[str, ...] = ()
    """Prompts of other things, none of which names the concept."""

    @property
    def called(self) -> tuple[str, ...]:
        """Every name of it, its own among them."""
        return tuple(dict.fromkeys((*self.names, self.name)))


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Encoded pictures with a prompt each."""

    mean: Tensor
    """(N, C, h, w), scaled as the network takes them; float32 on CPU."""
    std: Tensor
    """(N, C, h, w), scaled likewise."""
    prompts: tuple[str, ...]
    """N prompts."""

    def __len__(self) -> int:
        return len(self.prompts)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that one attack may spend on one model in its search."""

    draws: int
    """Pictures. At 0 an attack yields `plain` for each case and spends nothing."""
    passes: int | None = None
    """Forward passes of one sample, a backward pass counted as two; None leaves it to the settings
    of the attack."""

    def __post_init__(self) -> None:
        for name, value in (("draws", self.draws), ("passes", self.passes)):
            if value is not None and value < 0:
                raise ConfigError(f"the budget of {name} is {value}; give 0 or more")

    def steps(self, wanted: int, batch: int, per_sample: int = 3) -> int:
        """How many of the wanted optimiser steps the passes allow, a step being one forward and one
        backward pass of each of `batch` samples."""
        return wanted if self.passes is None else min(wanted, self.passes // (batch * per_sample))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Target:
    """One model under attack. The audited one, the base, a random one and a retrained one look the
    same, and a kept concept is another `concept` on the audited one."""

    name: str
    """`audited`, `base`, `random`, `retrained-1`, `kept-castle`..."""
    architecture: Architecture
    network: nn.Module
    """The main component in evaluation mode; no weight wants a gradient, and no attack changes
    one."""
    schedule: Schedule
    text: PromptEncoder
    """Frozen; gradients reach embeddings through `encode`."""
    codec: Codec
    """Its `encode` takes pixels (N, 3, H, W) in [-1, 1]."""
    latent_shape: tuple[int, int, int]
    """(C, h, w)"""
    size: tuple[int, int]
    """Height and width of the pictures, in pixels."""
    concept: Concept
    cases: tuple[Case, ...]
    """What to attack: plain prompts with a search seed each."""
    budget: Budget
    seed: int
    """Seed of all that an attack draws at random, by `generator_for(target.seed, name, ...)`."""
    device: torch.device
    steps: int
    """Sampling steps of a drawing."""
    guidance: float
    """Scale of classifier-free guidance of a drawing."""
    draw: Callable[[Sequence[Payload], Sequence[int]], Tensor]
    """Payloads and a seed each -> pixels (B, 3, H, W) uint8 on CPU, drawn as the runner draws. An
    attack that calls it says so in the `draws` of its costs."""
    classes: Classes | None = None
    """What it is told by number; None of a model that reads text."""
    homes: Homes = field(default_factory=dict)
    """Where the weights of streamed blocks lie; empty where all of the network is on the device."""
    base: "Target | None" = None
    """The model before the erasure, where it is at hand; itself where this is the base."""
    pictures: Material | None = None
    """Pictures of the concept, to search with; the runner keeps others back."""
    turned_pictures: Material | None = None
    """The same pictures upside down, turned before they were encoded."""
    other_pictures: Material | None = None
    """Pictures of other things, screened to hold none of the concept."""

    @property
    def denoise(self) -> Denoiser:
        """The network as objectives call it; gradients reach the conditions."""
        return self.architecture.denoiser(self.network)

    @property
    def has_null(self) -> bool:
        """Whether it can be told nothing, by the empty prompt or a label of no class; some models
        of classes have learned none."""
        return self.classes is None or self.classes.nothing is not None

    def time(self, share: float) -> float:
        """The time at so large a share of those of training, in [0, 1], as the network is told it.

        Raises:
            ConfigError: the schedule is of another kind.
        """
        return _timed(self.schedule).at(share)

    def drawing_time(self, share: float) -> int:
        """The same as the scheduler of a drawing counts it: a step, or 1000 s of a flow.

        Raises:
            ConfigError: as `time`.
        """
        time = self.time(share)
        return round(1000 * time) if isinstance(self.schedule, RectifiedFlow) else round(time)

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """Name -> value of each weight of the network; not to be written to."""
        return weights_at(self.network, self.homes)

    @property
    def learned(self) -> Mapping[str, Tensor]:
        """The same without what no training moves, such as a table of positions: what an attack may
        draw with other values of."""
        return learned_at(self.network, self.homes)

    def copy(self) -> nn.Module:
        """A copy of the network, in float32, that an attack may tune.

        Raises:
            ConfigError: its blocks are streamed; see `erasure.attacks.protocol.lacking`.
        """
        if self.homes:
            raise ConfigError(
                "the blocks of this network are streamed, and a copy to tune would lie on the "
                "device as a whole; leave stream out"
            )
        return copy.deepcopy(self.network).float().requires_grad_(True)

    def told(self, prompts: Sequence[str]) -> Condition:
        """What the network is told of B prompts, without gradients, on the device."""
        with torch.no_grad():
            made = self.text(prompts)
        return self.architecture.with_size(made, *self.size).to(self.device, torch.float32)


def _timed(schedule: Schedule) -> NoiseSchedule | RectifiedFlow:
    if isinstance(schedule, NoiseSchedule | RectifiedFlow):
        return schedule
    raise ConfigError(
        f"this model noises by {type(schedule).__name__}, whose times have no order that is known "
        "here; take the attacks words, seeds, rounding or pruning"
    )


def embedded(text: PromptEncoder, prompt: str, rows: Rows | None) -> Condition:
    """The condition (1, ...) of a prompt, where `rows` stand in the place of its own embeddings.

    Gradients reach the vectors of `rows`. The size of the picture is still to be told.

    Raises:
        ConfigError: a place lies outside the tokens, or a vector has another length.
    """
    tokens = text.tokenize([prompt])
    if rows is None:
        return text.encode(tokens)
    own = text.embed(tokens)
    if len(own) != len(rows.vectors):
        raise ConfigError(
            f"{len(rows.vectors)} vectors are given for a model of {len(own)} text encoders; give "
            "one for each"
        )
    instead = []
    for words, vectors in zip(own, rows.vectors, strict=True):
        length, width = words.shape[1:]
        if vectors.shape[1] != width or not all(0 <= place < length for place in rows.places):
            raise ConfigError(
                f"vectors of shape {tuple(vectors.shape)} at places {rows.places} do not fit "
                f"{length} tokens of {width} features; make them for this model"
            )
        at = torch.tensor(rows.places, device=words.device)
        instead.append(words.index_copy(1, at, vectors.to(words)[None]))
    return text.encode(tokens, instead)


@dataclass(slots=True)
class Ledger:
    """Counts what a search spends; an attack makes one for each run."""

    forwards: int = 0
    backwards: int = 0
    pictures: int = 0
    reported: Cost = field(default_factory=Cost)
    """What `since` has given out."""

    def counted(self, denoise: Denoiser) -> Denoiser:
        """The same denoiser, whose samples are counted."""

        def counting(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
            self.forwards += len(x_t)
            return denoise(x_t, t, condition)

        return counting

    def since(self) -> Cost:
        """What was spent since this was last asked."""
        known = self.reported
        self.reported = Cost(
            forwards=self.forwards, backwards=self.backwards, pictures=self.pictures
        )
        return self.reported + known * -1
