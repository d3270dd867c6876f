"""SPEED: rewrite values in closed form, in directions alone that what is kept does not use."""

# o x d a key or value weight, N edited and M kept vectors, q free directions.

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf, sqrt
from typing import ClassVar, Final

import torch
from torch import Tensor

from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.task import Task
from erasure.errors import ConfigError, Way, way
from erasure.masks.masks import SaliencyMask
from erasure.setting_checks import require_choice, require_not_negative, require_positive
from erasure.solving.closed_form import ClosedForm, apply, chosen, note_rank
from erasure.solving.factors import thinned
from erasure.solving.null_space import Split, above_average, centres, perturbed, split
from erasure.solving.quadratic import Quadratic
from erasure.solving.vectors import (
    TOKEN_CHOICES,
    EditVectors,
    Tokens,
    edit_vectors,
    first_token,
)
from erasure.training.step import Step

_CENTRES: Final = 3
"""Groups of the empty prompt's tokens behind the first, as published."""
_HOLD: Final = 1e8
"""How much more than other directions those of what is kept are held under a mask."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed(ClosedForm):
    """min over D of mean |(W0 + D) c - W0 c*|^2 + r |D|^2 + |D K|^2 / l, with D = D P.

    The mean is over the prompts, each with the sum over its tokens, of which `tokens` says the
    choice; of all tokens the first is left out, which is the same in every prompt. P projects
    on the directions in which the vectors that are kept have less than the threshold, and K holds
    the first token of the empty prompt and three centres of its others. With l = 0, D K is zero.
    The vectors kept are chosen for each weight: those that an unconstrained edit would move more
    than average, and of ten perturbed copies of them again those.

    Where the mask selects a weight in part, a row cannot lie in those directions in general: there
    each row is the exact minimiser for its free weights with D held in all other directions by a
    ridge 1e8 times r. Keys stay as they are unless `keys` is set.

    Published settings: threshold 0.1, r 1, l 0, ten copies for objects and styles; r 0.7, l 0.5,
    all tokens but the first, replaced by the empty prompt, which alone is kept, for nudity, and of
    everything else the last word; threshold 1e-4, r 0.05 and no filter for 100 celebrities. The
    thresholds are in units of the text features, so fit those of CLIP.

    Source: arXiv:2503.07392 and its release; the change is written here in a basis of the free
        directions, where it is an ordinary quadratic, and for text encoders of any width. The
        k-means and the copies are drawn by the seed; in the release they are not seeded. SD XL,
        which the release does not know, is told zeros for the empty prompt: there K holds the token
        that begins every prompt, alone.

    Examples:
        >>> Speed(tokens="all", ridge=0.7, empty_slack=0.5).keys
        False
    """

    name: ClassVar[str] = "speed"
    title: ClassVar[str] = "rewrite values where what is kept does not look; seconds, no pictures"
    source: ClassVar[str] = "arXiv:2503.07392"
    bears: ClassVar[int] = 100
    beyond: ClassVar[str] = (
        "at 100 celebrities 85.5 % of those kept were still recognised, and the FID on COCO was "
        "45.0, 14.0 before (arXiv:2504.12782, table 2); nothing is published of more"
    )

    tokens: Tokens = "last"
    """Which features of a prompt: of its last word, of all from there on, or of all tokens but the
    first."""
    threshold: float = 0.1
    """Eigenvalue of what is kept below which a direction is free, > 0."""
    ridge: float = 1.0
    """r, > 0: how strongly every weight is held."""
    empty_slack: float = 0.0
    """l, >= 0: how far answers to the empty prompt may move; 0 is not at all."""
    filtered: bool = True
    """Whether what is kept is chosen for each weight; else all of it is."""
    copies: int = 10
    """Perturbed copies of each vector that is kept, where they are chosen."""
    keys: bool = False
    """Whether keys are rewritten too."""
    seed: int = 0
    """Seed of the copies and the centres."""

    def __post_init__(self) -> None:
        require_choice(self, "tokens", *TOKEN_CHOICES)
        require_positive(self, "threshold", "ridge")
        require_not_negative(self, "empty_slack", "copies")

    @property
    def unread(self) -> Mapping[str, str]:
        """Setting that is not looked at -> why."""
        return {} if self.filtered else {"copies": "filtered is false"}

    def length(self, mask: SaliencyMask, /) -> int:
        """Weights to solve for."""
        return len(self._of_kind(chosen(mask)))

    def run(self, task: Task, /) -> Iterator[Step]:
        """Solve weight by weight; the losses are what is left of the concept, and how far the
        answers to all that should be kept move.

        Raises:
            ConfigError: the mask selects no value weight of the cross-attention, or what is kept
                leaves no direction free.
        """
        names = self._of_kind(self.solved(task))
        if not names:
            raise ConfigError(
                "the mask selects keys of the cross-attention alone, and speed changes its values; "
                "make it with ",
                way("scope", "xattn-kv"),
                ", or give ",
                Way("--set keys=true", "keys=True"),
            )
        vectors, empty = self._vectors(task.data), self._empty(task.data)
        each = sqrt(len(task.data.require_texts().forget))
        gap = (vectors.instead - vectors.concept) / each
        posed = replace(vectors, concept=vectors.concept / each)
        for index, name in enumerate(names):
            base = task.checkpoint.network[name].double()  # (o, d)
            parts = split(self._kept(base, posed, gap, index), self.threshold)
            problem, down = self._problem(posed, parts, empty)
            self._note(task, parts, problem)
            thin = thinned(base @ gap, down)
            held = self._held(posed, parts, empty) if self._in_part(task, name) else problem
            change = apply(task, name, held, base @ gap, thin)
            note_rank(task, name)
            erased = (base + change) @ vectors.concept - base @ vectors.instead
            moved = change @ vectors.others
            forget = float(erased.square().sum(0).mean())
            retain = float(moved.square().sum(0).mean())
            yield Step(index + 1, forget + retain, forget, retain)

    def _of_kind(self, names: list[str]) -> list[str]:
        return [name for name in names if self.keys or name.endswith("to_v.weight")]

    def _in_part(self, task: Task, name: str) -> bool:
        return not bool(task.mask.entries[name].all())

    def _note(self, task: Task, parts: Split, problem: Quadratic) -> None:
        """How well the weights' systems are conditioned, and how many directions are free: the
        worst of all weights."""
        facts = task.outcome.facts
        worst = max(facts.get("condition_number", 0.0), problem.condition())
        free = min(facts.get("free_directions", inf), parts.free.shape[1])
        facts |= {"condition_number": worst, "free_directions": int(free)}

    def _empty(self, data: ConceptData) -> Tensor:
        """K, (d, 4 or fewer): the token that begins every prompt and centres of the empty prompt's
        others, of which SD XL has none but zeros."""
        others = data.prompts.tokens[0, 1:].double()  # (L - 1, d)
        made = torch.cat([first_token(data).double()[None], centres(others, _CENTRES, self.seed)])
        return made[made.norm(dim=1) > 0].T

    def _vectors(self, data: ConceptData) -> EditVectors:
        """The features, of all tokens without each prompt's first."""
        vectors = edit_vectors(data, self.tokens)
        if self.tokens != "all":
            return vectors
        length = data.prompts.tokens.shape[1]
        concept, instead, others = (
            _behind_first(part, length)
            for part in (vectors.concept, vectors.instead, vectors.others)
        )
        return EditVectors(concept, instead, others)

    def _kept(self, base: Tensor, vectors: EditVectors, gap: Tensor, index: int) -> Tensor:
        """What this weight keeps, (d, M); the vectors to edit are those of the mean."""
        if not self.filtered:
            return vectors.others
        loose = Quadratic(vectors.concept, vectors.concept.shape[1], self.ridge)
        change = loose.change(base @ gap)
        near = above_average(vectors.others, change)
        if not near.shape[1]:  # all are moved alike, or there is one alone
            near = vectors.others
        if not self.copies:
            return near
        more = perturbed(near, base, self.copies, self.seed + index)
        return torch.cat([near, above_average(more, change)], 1)

    def _problem(
        self, vectors: EditVectors, parts: Split, empty: Tensor
    ) -> tuple[Quadratic, Tensor]:
        """The quadratic within the free directions, and what residuals are multiplied with."""
        basis = parts.free
        if self.empty_slack == 0 and empty.shape[1]:
            # D K = 0: what of the basis is orthogonal to K.
            left, sizes, _ = torch.linalg.svd(basis.T @ empty)
            rank = int((sizes > 1e-12 * empty.norm()).sum())
            basis = basis @ left[:, rank:]
        if not basis.shape[1]:
            raise ConfigError(
                f"what is kept has {self.threshold} or more in every direction of the text "
                "features, so none is left to erase in; raise threshold, or keep fewer prompts"
            )
        problem = self._quadratic(basis.T @ vectors.concept, basis.T @ empty)
        return problem, problem.down @ basis.T

    def _held(self, vectors: EditVectors, parts: Split, empty: Tensor) -> Quadratic:
        """The quadratic of all directions, where those that are not free are held firmly."""
        firm = sqrt(_HOLD * self.ridge)
        blocked = parts.held
        if self.empty_slack == 0 and empty.shape[1]:
            both = torch.cat([blocked, empty / empty.norm()], 1)
            basis, sizes, _ = torch.linalg.svd(both, full_matrices=False)
            blocked = basis[:, sizes > 1e-9]
        made = self._quadratic(vectors.concept, empty)
        return Quadratic(torch.cat([made.vectors, firm * blocked], 1), made.edited, self.ridge)

    def _quadratic(self, concept: Tensor, empty: Tensor) -> Quadratic:
        parts = [concept]
        if self.empty_slack > 0:
            parts.append(empty / sqrt(self.empty_slack))
        return Quadratic(torch.cat(parts, 1), concept.shape[1], self.ridge)


def _behind_first(columns: Tensor, length: int) -> Tensor:
    """(d, N) of prompts of `length` tokens without the first of each; before those that SD XL keeps
    stands one such token alone."""
    whole = columns[:, columns.shape[1] % length :]
    return whole[:, torch.arange(whole.shape[1]) % length > 0]
