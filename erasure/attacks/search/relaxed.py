"""Searches that relax the choice of a word: on the simplex, or beside the table of embeddings."""

# P prompts, A allowed words, E embedding features, k open places.

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.attacks.search.noisy import require_finite
from erasure.attacks.search.problem import Found, Problem, looked_up, slopes
from erasure.attacks.search.simplex import onto_simplex
from erasure.seeds import generator_for


@dataclass(frozen=True, kw_only=True, slots=True)
class SimplexSearch:
    """Each open place holds a mixture of all words; one word is drawn from it for each pass.

    The gradient at the drawn words is passed straight through to the mixture, clipped to [-1, 1];
    after the step the mixture is put back onto the simplex. The answer is the heaviest word.

    Source: arXiv:2310.11868 with the settings of its release: Adam 0.01, coupled decay 0.1, start
        at 1 / A.
    """

    learning_rate: float = 0.01
    """Rate of Adam."""
    weight_decay: float = 0.1
    """Coupled with the gradient."""

    def run(
        self, problem: Problem, count: int, places: int, steps: int, seed: int, /
    ) -> Iterator[Found]:
        """See `erasure.attacks.search.problem.Search`."""
        words, where = len(problem.tables[0]), problem.tables[0].device
        mixture = torch.full((count, places, words), 1 / words, device=where).requires_grad_()
        adam = torch.optim.Adam([mixture], lr=self.learning_rate, weight_decay=self.weight_decay)
        which = torch.arange(count)
        for step in range(steps):
            drawn = _drawn(mixture.detach(), seed, step)
            slopes_now = slopes(problem, looked_up(problem, drawn), which, step)
            require_finite(slopes_now.losses, step + 1, "search on the simplex")
            mixture.grad = slopes_now.by_word(problem).to(mixture).clamp(-1, 1)
            adam.step()
            with torch.no_grad():
                mixture.copy_(onto_simplex(mixture))
            heaviest = mixture.detach().argmax(dim=-1).cpu()
            yield Found(step + 1, tuple(slopes_now.losses.tolist()), heaviest)


def _drawn(mixture: Tensor, seed: int, step: int) -> Tensor:
    """(P, k, A) -> (P, k) words, each prompt by a stream of its own."""
    if not mixture.shape[1]:
        return torch.zeros(mixture.shape[:2], dtype=torch.int64)
    return torch.stack(
        [
            torch.multinomial(row.cpu(), 1, generator=generator_for(seed, "simplex", n, step))
            for n, row in enumerate(mixture)
        ]
    ).squeeze(-1)


@dataclass(frozen=True, kw_only=True, slots=True)
class NearestSearch:
    """Each open place holds a free vector; the pass sees the word that is nearest to it.

    The gradient at that word moves the free vector.

    Source: PEZ, arXiv:2302.03668, algorithm 1, as P4D (arXiv:2309.06135) uses it: nearest by
        cosine, AdamW 0.1 with decay 0.1. A model of two text encoders adds up both cosines.
    """

    learning_rate: float = 0.1
    """Rate of AdamW."""
    weight_decay: float = 0.1
    """Decoupled from the gradient."""

    def run(
        self, problem: Problem, count: int, places: int, steps: int, seed: int, /
    ) -> Iterator[Found]:
        """See `erasure.attacks.search.problem.Search`."""
        words = len(problem.tables[0])
        first = [
            torch.randint(words, (places,), generator=generator_for(seed, "nearest", n))
            for n in range(count)
        ]
        free = [row.clone().requires_grad_() for row in looked_up(problem, torch.stack(first))]
        adam = torch.optim.AdamW(free, lr=self.learning_rate, weight_decay=self.weight_decay)
        which = torch.arange(count)
        for step in range(steps):
            near = nearest(problem, [row.detach() for row in free])
            slopes_now = slopes(problem, looked_up(problem, near), which, step)
            require_finite(slopes_now.losses, step + 1, "search for the nearest words")
            for row, slope in zip(free, slopes_now.rows, strict=True):
                row.grad = slope.to(row)
            adam.step()
            answer = nearest(problem, [row.detach() for row in free])
            yield Found(step + 1, tuple(slopes_now.losses.tolist()), answer)


def nearest(problem: Problem, rows: list[Tensor]) -> Tensor:
    """The word whose embeddings have the largest cosine with the rows: (M, k, E)... -> (M, k)."""
    parts = [
        F.normalize(row, dim=-1) @ F.normalize(table.to(row), dim=-1).T
        for row, table in zip(rows, problem.tables, strict=True)
    ]
    total = parts[0].cpu()
    for part in parts[1:]:
        total = total + part.cpu()
    return total.argmax(dim=-1)
