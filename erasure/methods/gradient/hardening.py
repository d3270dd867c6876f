"""Train against an attack: embeddings that bring the concept back, as further prompts to forget."""

# B samples, P templates, E embedding features, C x H x W latents.

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from erasure.architectures.building import build_text_encoder
from erasure.architectures.text.text_encoders import TIME_IDS
from erasure.attacks.search.noisy import Noisy, require_finite, squared_error
from erasure.attacks.search.slots import OPEN, Slots, slots_of
from erasure.attacks.search.soft_row import capped
from erasure.attacks.search.vocabulary import Vocabulary, cut_alike, vocabulary_of
from erasure.diffusion.batches import BatchSource, PictureBatch, Rollout
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.latents import Noised
from erasure.diffusion.denoiser import Condition, Denoiser, join
from erasure.diffusion.task import Task
from erasure.errors import ConfigError
from erasure.seeds import derived_seed
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.work import Tally

STRIDE = 0.2
"""Length of a step of the adversary, as a share of the longest row of the table."""


def template_of(prompt: str, replacement: str) -> tuple[str, str]:
    """A prompt with an open place where its replacement differs, and the words that stood there.

    `a church at night` and `a castle at night` give `a {} at night` and `church`. Where nothing is
    left out the place is at the front.
    """
    own, other = prompt.split(), replacement.split()
    most, start, end = min(len(own), len(other)), 0, 0
    while start < most and own[start] == other[start]:
        start += 1
    while end < most - start and own[-1 - end] == other[-1 - end]:
        end += 1
    behind = own[len(own) - end :]
    return " ".join([*own[:start], OPEN, *behind]), " ".join(own[start : len(own) - end])


def descended(
    student: Denoiser,
    rows: Sequence[Tensor],
    tell: Callable[[Sequence[Tensor]], Condition],
    shown: Callable[[int], Noisy],
    steps: int,
    move: Callable[[Sequence[Tensor], Sequence[Tensor]], list[Tensor]],
) -> list[Tensor]:
    """Vectors under which the network in training answers as it must not; no weight gets a
    gradient.

    Args:
        student: the network in training.
        rows: (B, k, E) for each text encoder, where the search begins.
        tell: makes the condition of B samples that has such vectors in it.
        shown: gives the samples of a step, counted from 0; it is called before `tell`.
        steps: of the search.
        move: makes the next vectors of those and their gradients.
    """
    vectors = list(rows)
    for step in range(steps):
        free = [row.detach().requires_grad_() for row in vectors]
        with torch.enable_grad():
            losses = squared_error(student, shown(step), tell(free))
            require_finite(losses, step + 1, "adversary")
            slopes = torch.autograd.grad(losses.sum(), free)
        vectors = move(free, slopes)
    return vectors


@dataclass(frozen=True, slots=True, eq=False)
class Adversary:
    """Looks for the rows that make the network in training answer as if nothing were erased.

    Every sample has a row of its own in a prompt of its own concept, which starts anew in every
    step of the training: at the concept's own last word piece for every other sample of a concept,
    at a random word for the rest. So a run that is resumed, cut into other passes or shared among
    processes meets the same rows.

    Source: in the manner of arXiv:2311.17717 (Receler) and arXiv:2408.16807 (STEREO), which train
        against learned prompts. Here, as in our soft token, one row is learned, held to the longest
        of the table, by normalised steps.
    """

    slots: Slots
    vocabulary: Vocabulary
    own: Tensor
    """(P,) int64 token number of the concept's own last word piece in each template."""
    each: tuple[tuple[int, ...], ...]
    """The templates of each concept, in the order in which samples take turns."""
    steps: int
    seed: int
    device: torch.device
    tally: Tally | None = None
    """Counts the texts that are read; the passes of the network count themselves."""

    def told(self, student: Denoiser, shown: Noisy, position: int) -> Condition:
        """The worst texts for these samples that were found, (B, ...), without gradient.

        Args:
            student: the network in training; no weight gets a gradient.
            shown: noisy latents and the answer that must not come back.
            position: place of the first sample in the stream.
        """
        places = range(position, position + len(shown))
        which = torch.tensor([self._template(place) for place in places])
        if self.tally is not None:
            self.tally.count(text=(self.steps + 1) * len(shown))
        limits = self.slots.limits

        def tell(rows: Sequence[Tensor]) -> Condition:
            return self.slots.told(rows, which).to(self.device, torch.float32)

        def move(rows: Sequence[Tensor], slopes: Sequence[Tensor]) -> list[Tensor]:
            return [
                capped(row.detach() - STRIDE * limit * _unit(slope), limit)
                for row, slope, limit in zip(rows, slopes, limits, strict=True)
            ]

        start = self._start(which, places)
        rows = descended(student, start, tell, lambda _: shown, self.steps, move)
        with torch.no_grad():
            return tell(rows)

    def _template(self, place: int) -> int:
        """One of those of the concept whose turn it is."""
        own = self.each[place % len(self.each)]
        return own[derived_seed(self.seed, "harden template", place) % len(own)]

    def _start(self, which: Tensor, places: Sequence[int]) -> list[Tensor]:
        """One (B, 1, E) for each text encoder."""
        random = [derived_seed(self.seed, "harden", p) % len(self.vocabulary) for p in places]
        even = torch.tensor([place // len(self.each) % 2 == 0 for place in places])
        ids = torch.where(even, self.own[which], self.vocabulary.ids[random])
        towers = self.slots.text.towers
        tables = [network.get_input_embeddings().weight.detach() for _, network in towers]
        return [table[ids.to(table.device)].float()[:, None] for table in tables]


def _unit(slope: Tensor) -> Tensor:
    """Each row's gradient at length 1, (B, 1, E)."""
    length: Tensor = slope.norm(dim=-1, keepdim=True)
    return slope / length.clamp(min=1e-20)


@dataclass(frozen=True, slots=True, eq=False)
class HardenedPictures:
    """Each forget sample twice: as it comes, and under the text that the adversary found for it."""

    batches: BatchSource[PictureBatch]
    adversary: Adversary

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample's latents, (C, H, W)."""
        return self.batches.shape

    def at(
        self, position: int, count: int, student: Denoiser, frozen: FrozenDenoiser, /
    ) -> PictureBatch:
        """Twice `count` forget samples, and the same retain samples."""
        batch = self.batches.at(position, count, student, frozen)
        plain = batch.forget
        shown = Noisy(plain.x_t, plain.t, plain.target)
        condition = self.adversary.told(student, shown, position)
        twice = Noised(
            torch.cat([plain.x_t, plain.x_t]),
            torch.cat([plain.t, plain.t]),
            torch.cat([plain.target, plain.target]),
            join([plain.condition, condition]),
        )
        return replace(batch, forget=twice, replacement=join([batch.replacement] * 2))


@dataclass(frozen=True, slots=True, eq=False)
class HardenedRollouts:
    """Each rollout twice: as it comes, and asked by the text that the adversary found for it.

    There is no picture, so what must not come back is the base's answer to the concept.
    """

    batches: BatchSource[Rollout]
    adversary: Adversary

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample's latents, (C, H, W)."""
        return self.batches.shape

    def at(
        self, position: int, count: int, student: Denoiser, frozen: FrozenDenoiser, /
    ) -> Rollout:
        """Twice `count` rollouts."""
        batch = self.batches.at(position, count, student, frozen)
        wanted = frozen(batch.x_t, batch.t, batch.concept)
        shown = Noisy(batch.x_t, batch.t, wanted)
        condition = self.adversary.told(student, shown, position)
        return replace(
            batch,
            x_t=torch.cat([batch.x_t, batch.x_t]),
            t=torch.cat([batch.t, batch.t]),
            concept=join([batch.concept] * 2),
            replacement=join([batch.replacement] * 2),
            empty=join([batch.empty] * 2),
            asked=join([batch.concept, condition]),
        )


def adversary_of(task: Task, rows: Tensor, steps: int, seed: int) -> Adversary:
    """The adversary of a task, with the model's own text encoder on the task's device.

    Args:
        rows: (N,) int64 prompts to forget that the samples come from.
        steps: of its search, for every step of the training; 1 or more.
        seed: of its starts.

    Raises:
        ConfigError: the prompts are not known as text, or the model's text encoders do not cut
            them alike.
    """
    text = build_text_encoder(task.checkpoint)
    if not cut_alike(text):
        title = task.checkpoint.architecture.title
        raise ConfigError(
            f"harden looks for a row at one place of the tokens, and {title} reads prompts by "
            "other text encoders than those of CLIP; set harden to 0"
        )
    text.to(task.device)
    pairs = _pairs(task.data)
    if not pairs:
        raise ConfigError("harden needs the concept's prompts as text; set harden to 0")
    made = list(dict.fromkeys(template_of(*pair) for pair in pairs))
    each: dict[int, dict[int, None]] = {}  # concept -> its templates
    for pair, concept in pairs.items():
        each.setdefault(concept, {})[made.index(template_of(*pair))] = None
    turns = [0] if task.data.owners is None else task.data.owners[rows].unique().tolist()
    words = vocabulary_of(text)
    templates = [template for template, _ in made]
    slots = slots_of(text, templates, 1, words, size=size_of(task.data))
    own = [words.cut(name)[-1] if words.cut(name) else int(words.ids[0]) for _, name in made]
    return Adversary(
        slots,
        words,
        torch.tensor(own),
        tuple(tuple(each[concept]) for concept in turns),
        steps,
        seed,
        task.device,
        task.tally,
    )


def size_of(data: ConceptData) -> tuple[int, int]:
    """Height and width of the pictures in pixels, where the model is told them."""
    ids = data.prompts.tensors.get(TIME_IDS)
    return (0, 0) if ids is None else (int(ids[0, 0]), int(ids[0, 1]))


def _pairs(data: ConceptData) -> dict[tuple[str, str], int]:
    """Each forget prompt with its first replacement, as text -> which of several concepts it is
    of."""
    if not data.words:
        return {}
    rows = [(data.forget.prompt, data.replacements)]
    if data.texts is not None:
        rows.append((data.texts.forget, data.texts.replacements))
    pairs: dict[tuple[str, str], int] = {}
    for prompts, stand_ins in rows:
        for row, other in zip(prompts.tolist(), stand_ins[:, :1].flatten().tolist(), strict=True):
            owner = 0 if data.owners is None else int(data.owners[row])
            pairs.setdefault((data.words[row], data.words[other]), owner)
    return pairs
