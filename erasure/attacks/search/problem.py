"""What a search for words minimises: words in, one loss a prompt out."""

# P prompts, M rows of them, A allowed words, E embedding features, k open places.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from erasure.attacks.search.slots import Slots
from erasure.attacks.search.vocabulary import Vocabulary
from erasure.diffusion.denoiser import Condition


class Goal(Protocol):
    """What the found text should make the model, or the text encoder, do."""

    def __call__(self, condition: Condition, which: Tensor, step: int, /) -> Tensor:
        """The loss of each text, (M,), float32, lower is better; gradients reach the condition.

        A row's loss does not depend on the other rows.

        Args:
            condition: of M texts.
            which: (M,) int64, the prompt that each belongs to.
            step: whose noise to use, where there is noise; -1 is that of the final comparison.
        """
        ...


class Problem(Protocol):
    """The words that may be chosen and what a choice costs."""

    @property
    def tables(self) -> Sequence[Tensor]:
        """(A, E) embeddings of the words, for each text encoder."""
        ...

    def losses(self, rows: Sequence[Tensor], which: Tensor, step: int, /) -> Tensor:
        """(M, k, E) for each text encoder, (M,) -> (M,); gradients reach the rows."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PromptProblem:
    """Words at the open places of prompts."""

    slots: Slots
    vocabulary: Vocabulary
    goal: Goal
    device: torch.device

    @property
    def tables(self) -> Sequence[Tensor]:
        """(A, E) for each text encoder."""
        return self.vocabulary.tables

    def losses(self, rows: Sequence[Tensor], which: Tensor, step: int, /) -> Tensor:
        """The goal's losses, (M,)."""
        condition = self.slots.told(rows, which).to(self.device, torch.float32)
        return self.goal(condition, which, step)


@dataclass(frozen=True, slots=True)
class Found:
    """Where a search stands after a step."""

    step: int
    """From 1."""
    losses: tuple[float, ...]
    """P, of what was tried in this step."""
    words: Tensor
    """(P, k) int64 rows of the vocabulary: what the search would answer now."""


class Search(Protocol):
    """How to look for words; a frozen dataclass of settings."""

    def run(
        self, problem: Problem, count: int, places: int, steps: int, seed: int, /
    ) -> Iterator[Found]:
        """Yield after each step; prompt n depends on the seed and n, not on the other prompts.

        Args:
            count: P prompts.
            places: k.

        Raises:
            TrainingError: a loss is not finite.
        """
        ...


def looked_up(problem: Problem, words: Tensor) -> list[Tensor]:
    """The embeddings of words, (M, k) -> (M, k, E) for each text encoder."""
    return [table[words.to(table.device)] for table in problem.tables]


def slopes(problem: Problem, rows: Sequence[Tensor], which: Tensor, step: int) -> "Slopes":
    """Losses of some rows and their gradients by the rows."""
    leaves = [row.detach().clone().requires_grad_() for row in rows]
    with torch.enable_grad():
        losses = problem.losses(leaves, which, step)
        made: tuple[Tensor | None, ...] = (None,) * len(leaves)
        if losses.requires_grad:  # not where a model does not listen to its prompt
            made = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
    gradients = [torch.zeros_like(r) if g is None else g for r, g in zip(leaves, made, strict=True)]
    return Slopes(losses.detach(), tuple(gradients))


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """Losses (M,) with their gradients by the rows, (M, k, E) for each text encoder."""

    losses: Tensor
    rows: tuple[Tensor, ...]

    def by_word(self, problem: Problem) -> Tensor:
        """The gradient by the one-hot choice of each word, (M, k, A)."""
        total, *others = [
            row @ table.to(row).T for row, table in zip(self.rows, problem.tables, strict=True)
        ]
        for part in others:
            total = total + part.to(total)
        return total
