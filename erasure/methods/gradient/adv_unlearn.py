"""AdvUnlearn: harden the text encoder, so that no word before a prompt brings the concept back."""

# B samples, R retained ones each, P prompts, F to forget, L tokens, k vectors, E embedding
# features, C x H x W latents.

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.architectures.building import build_text_encoder
from erasure.architectures.text.names import LAYERS
from erasure.architectures.text.text_encoders import TokenIds
from erasure.attacks.search.noisy import Noisy
from erasure.attacks.search.slots import OPEN, slots_of
from erasure.attacks.search.vocabulary import Vocabulary, vocabulary_of
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.batches import Rollout, RolloutBatches
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.denoiser import Condition, Denoiser, join
from erasure.diffusion.task import Task
from erasure.errors import ConfigError, Way
from erasure.masks.masks import MaskKind
from erasure.methods.gradient.by_gradient import ByRollout
from erasure.methods.gradient.esd import shifted
from erasure.methods.gradient.hardening import descended, size_of
from erasure.moving.reading import ROW, having_vectors
from erasure.seeds import derived_seed
from erasure.setting_checks import require_choice, require_positive
from erasure.training.objective import Loss
from erasure.training.step import Step
from erasure.training.weights.frozen import FrozenDenoiser

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdvUnlearn(ByRollout):
    """ESD's loss on a text encoder, under vectors that an attack finds in every step.

    |e0(z | TE(c_adv)) - (e0(z | empty) - n (e0(z | c) - e0(z | empty)))|^2
    + w |e0(z_r | TE(r)) - e0(z_r | TE0(r))|^2, e0 being the frozen network, TE the text encoder in
    training and TE0 the base's, z rolled out under c and z_r under a prompt r that is kept. c_adv
    is c with k free vectors before it, which minimise |e0(z' | TE(c_adv)) - e0(z' | TE0(c))|^2, z'
    anew in each step of the attack.

    Source: arXiv:2405.15234; the settings are those that its release publishes for nudity. It
        differs from the release in these points. There, the time that is told is later than the
        latents are at; here both belong together. There, a prompt is cut by its words, which is
        wrong where a word has several tokens; here by its tokens. There, `fast_at` gives signs of
        gradients to Adam, which changes little, so it is left out. There, the last norm is trained
        by a switch alone; here by the scope `layers`, as the paper describes it. There, forget and
        retain samples share their time; here each has its own. SD XL has two text encoders, of
        which one run trains one; which of them stays is said.

    Examples:
        >>> AdvUnlearn(steps=100, attack_steps=10, retain_weight=0.3).steps
        100
    """

    name: ClassVar[str] = "adv-unlearn"
    title: ClassVar[str] = "lead the text encoder away from the concept under attack; needs prompts"
    source: ClassVar[str] = "arXiv:2405.15234"
    default_mask: ClassVar[MaskKind] = "all"
    default_scope: ClassVar[str] = LAYERS
    reads_instead: ClassVar[bool] = False
    """Nothing is put in the concept's place."""

    steps: int = 1000
    """Optimiser steps."""
    component: Literal["text_encoder", "text_encoder_2"] = "text_encoder"
    """The text encoder that is trained; SD XL has a second."""
    strength: float = 1.0
    """n, how far beyond the empty prompt's prediction the target lies; 0 is that prediction."""
    retain_weight: float = 0.3
    """w, weight of what is kept; 0 keeps nothing."""
    retain_batch: int = 5
    """Prompts to retain for each rollout of the concept."""
    attack_steps: int = 30
    """Steps of the attack in each step of the training; 0 is ESD on the text encoder."""
    attack_rate: float = 1e-3
    """Learning rate of the attack's Adam."""
    attack_words: int = 1
    """k, vectors before the prompt."""
    attack_warmup: int = 200
    """Steps of the training before the first that is attacked."""
    fresh: bool = True
    """Whether each step of the attack rolls out latents of its own, as the paper has it; else it
    sees those of the training's step, at a fraction of the cost."""

    def __post_init__(self) -> None:
        ByRollout.__post_init__(self)
        require_choice(self, "component", "text_encoder", "text_encoder_2")
        for name, least in (
            ("retain_weight", 0),
            ("retain_batch", 1),
            ("attack_steps", 0),
            ("attack_words", 1),
            ("attack_warmup", 0),
        ):
            if not getattr(self, name) >= least:
                raise ConfigError(f"{name} is {getattr(self, name)}; give {least} or more")
        require_positive(self, "attack_rate")

    @property
    def counted(self) -> tuple[int, int, int]:
        """Rollouts, passes with a gradient and passes without one, of a sample, on average."""
        attacked = max(0, self.steps - self.attack_warmup) * self.attack_steps // self.steps
        retained = self.retain_batch if self.retain_weight else 0
        drawn = 1 + retained + (attacked if self.fresh else 0)
        return drawn, 1 + retained, 2 + retained + attacked * 4  # a backward pass costs two

    @property
    def unread(self) -> Mapping[str, str]:
        """Setting that is not looked at -> why."""
        unread = {} if self.retain_weight else {"retain_batch": "retain_weight is 0"}
        if not self.attack_steps:
            names = ("attack_rate", "attack_words", "attack_warmup", "fresh")
            unread |= dict.fromkeys(names, "attack_steps is 0")
        return unread

    def run(self, task: Task, /) -> Iterator[Step]:
        """Train on rollouts of the concept and of what is kept."""
        self._tell_others(task.checkpoint)
        if self.attack_steps and self.attack_warmup >= self.steps:
            _log.warning(
                "none of the %d steps is attacked, as attack_warmup is %d; give a smaller one",
                self.steps,
                self.attack_warmup,
            )
        forget = self.rollouts(task, "frozen")
        retain = self._retained(task, forget) if self.retain_weight else None
        attack = prefix_attack(task, self, forget) if self.attack_steps else None
        batches = AttackedRollouts(forget, retain, attack, self)
        return task.train(self, batches, self, needs_frozen=True)

    def _tell_others(self, checkpoint: Checkpoint) -> None:
        """Say it where the model reads prompts by further text encoders, which stay as they are."""
        family, edited = checkpoint.architecture, {edit.component for edit in checkpoint.edits}
        left = [n for n in family.editable if n not in {family.main, self.component, *edited}]
        if left:
            _log.warning(
                "%s reads prompts by %s too, which this run leaves as it is, so it may still bring "
                "the concept back; erase the result again with the setting component=%s",
                family.title,
                " and ".join(left),
                left[0],
            )

    def _retained(self, task: Task, forget: RolloutBatches) -> RolloutBatches:
        texts = task.data.require_texts()
        if not len(texts.retain):
            raise ConfigError(
                "adv-unlearn keeps what is not the concept by prompts to retain, and there is "
                "none; give ",
                Way("--retain-prompts", "prompts with some to retain"),
                ", or set retain_weight to 0",
            )
        own = replace(
            texts,
            forget=texts.retain,
            replacements=texts.retain[:, None],
            concepts=None,
            pulls=None,
        )
        data = replace(task.data, texts=own, owners=None)
        return replace(forget, data=data, seed=derived_seed(self.seed, "retained rollouts"))

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: "AttackedRollout", /) -> Loss:
        """The loss of one batch; no gradient flows through the base's answers."""
        shown, kept_too = batch.forget, batch.retain
        every = [shown] if kept_too is None else [shown, kept_too]
        with torch.no_grad():
            answers = frozen(
                torch.cat([shown.x_t, *(part.x_t for part in every)]),
                torch.cat([shown.t, *(part.t for part in every)]),
                join([shown.empty, *(part.concept for part in every)]),
            ).float()
        size = len(shown)
        wanted = shifted(answers[:size], answers[size : 2 * size], self.strength)
        asked = shown.concept if shown.asked is None else shown.asked
        forget = F.mse_loss(student(shown.x_t, shown.t, asked).float(), wanted)
        if kept_too is None:
            return Loss(forget, torch.zeros(()))
        retained = student(kept_too.x_t, kept_too.t, kept_too.concept).float()
        return Loss(forget, self.retain_weight * F.mse_loss(retained, answers[2 * size :]))


@dataclass(frozen=True, slots=True)
class AttackedRollout:
    """Rollouts of the concept, asked as the attack found it, and of what is kept."""

    forget: Rollout
    """B of them."""
    retain: Rollout | None
    """B x R of them, each under its own prompt."""


@dataclass(frozen=True, slots=True, eq=False)
class AttackedRollouts:
    """Rollouts of both kinds; those of the concept are attacked after the warm-up."""

    forget: RolloutBatches
    retain: RolloutBatches | None
    attack: "PrefixAttack | None"
    method: AdvUnlearn

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample's latents, (C, H, W)."""
        return self.forget.shape

    def at(
        self, position: int, count: int, student: Denoiser, frozen: FrozenDenoiser, /
    ) -> AttackedRollout:
        """Draw `count` samples of the concept, and R of what is kept with each."""
        shown, each = self.forget.at(position, count, student, frozen), self.method.retain_batch
        retained = None
        if self.retain is not None:
            retained = self.retain.at(position * each, count * each, student, frozen)
        step = position // self.method.batch_size
        if self.attack is not None and step >= self.method.attack_warmup:
            condition = self.attack.told(student, frozen, shown, position)
            shown = replace(shown, asked=condition)
        return AttackedRollout(shown, retained)


@dataclass(frozen=True, slots=True, eq=False)
class PrefixAttack:
    """Looks for vectors before the prompt under which the model answers as the base does.

    Every sample has vectors of its own, which begin at random words in every step of the training:
    the release's `attack_init random`. So a run that is resumed, cut into other passes or shared
    among processes meets the same ones.
    """

    tokens: tuple[TokenIds, ...]
    """One (F, L) for each text encoder: the prompts to forget, with open places before them."""
    places: Tensor
    """(F, k) int64, where the open places are among the tokens."""
    template: Tensor
    """(P,) int64 which of them a row of the prompt table is; -1 for the others."""
    vocabulary: Vocabulary
    rollouts: RolloutBatches
    method: AdvUnlearn

    def told(
        self, student: Denoiser, frozen: FrozenDenoiser, shown: Rollout, position: int
    ) -> Condition:
        """What the text encoder is to read of these samples, (B, ...), without gradient."""
        which = self.template[shown.concept.named(ROW).cpu()]
        tokens = [TokenIds(part.ids[which], part.attended[which]) for part in self.tokens]
        places = self.places[which]

        def tell(rows: Sequence[Tensor]) -> Condition:
            return having_vectors(shown.concept, tokens, places, rows)

        def at(step: int) -> Noisy:
            seen = shown
            if self.method.fresh:
                seed = derived_seed(self.method.seed, "attack", step)
                source = replace(self.rollouts, seed=seed, ordered_by=self.rollouts.seed)
                seen = source.at(position, len(shown), student, frozen)
            return Noisy(seen.x_t, seen.t, frozen(seen.x_t, seen.t, seen.concept))

        start = self._start(range(position, position + len(shown)), shown.x_t.device)
        adam = _Adam(self.method.attack_rate)
        return tell(descended(student, start, tell, at, self.method.attack_steps, adam))

    def _start(self, places: Sequence[int], device: torch.device) -> list[Tensor]:
        """(B, k, E) for each text encoder."""
        words, count = self.vocabulary, self.method.attack_words
        rows = torch.tensor(
            [
                [derived_seed(self.method.seed, "prefix", p, n) % len(words) for n in range(count)]
                for p in places
            ]
        )
        return [table[rows.to(table.device)].to(device) for table in words.tables]


class _Adam:
    """Adam over the vectors of one attack, element by element, so that samples do not mix."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._own: list[Tensor] = []
        self._adam: torch.optim.Optimizer | None = None

    def __call__(self, rows: Sequence[Tensor], slopes: Sequence[Tensor]) -> list[Tensor]:
        """The next vectors."""
        if self._adam is None:
            self._own = [row.detach().clone().requires_grad_() for row in rows]
            self._adam = torch.optim.Adam(self._own, lr=self._rate)
        for row, slope in zip(self._own, slopes, strict=True):
            row.grad = slope
        self._adam.step()
        return [row.detach().clone() for row in self._own]


def prefix_attack(task: Task, method: AdvUnlearn, rollouts: RolloutBatches) -> PrefixAttack:
    """The attack of a task.

    Args:
        rollouts: of the concept; those of the attack are drawn as these are.

    Raises:
        ConfigError: a prompt has no place for the vectors, or there is no word to begin at.
    """
    data: ConceptData = task.data
    text = build_text_encoder(task.checkpoint, device=task.device)
    words = vocabulary_of(text)
    forget = list(dict.fromkeys(data.require_texts().forget.tolist()))
    templates = [f"{OPEN} {data.words[row]}" for row in forget]
    slots = slots_of(text, templates, method.attack_words, words, size=size_of(data))
    template = torch.full((len(data.words),), -1, dtype=torch.int64)
    template[torch.tensor(forget)] = torch.arange(len(forget))
    return PrefixAttack(slots.tokens, slots.places, template, words, rollouts, method)
