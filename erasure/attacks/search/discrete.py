"""Searches among words themselves: by a genetic population, or one exchanged word at a time."""

# P prompts, A allowed words, G members of a population, N candidates, k open places.

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from erasure.attacks.search.noisy import require_finite
from erasure.attacks.search.problem import Found, Problem, looked_up, slopes
from erasure.errors import ConfigError
from erasure.seeds import generator_for
from erasure.setting_checks import require_counts


def _judged(problem: Problem, words: Tensor, prompt: int, step: int, part: int) -> Tensor:
    """Losses (N,) of candidates (N, k) for one prompt, `part` in a pass; float32 on CPU."""
    losses = []
    with torch.no_grad():
        for some in words.split(part):
            which = torch.full((len(some),), prompt)
            losses.append(problem.losses(looked_up(problem, some), which, step).float().cpu())
    return torch.cat(losses)


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneticSearch:
    """The better half stays and has children: two parents cut at one place, some words changed.

    Source: arXiv:2310.10012, algorithm 1 with the settings of its release. There, mutation changes
        a tensor that the best may share; here, parents are never written to, so the best loss
        never rises.
    """

    population: int = 200
    """G, even."""
    crossover: float = 0.5
    """Chance that a child has two parents, not one."""
    mutation: float = 0.25
    """Chance that one word of a child is changed."""
    part: int = 200
    """Candidates a pass."""

    def __post_init__(self) -> None:
        if self.population < 4 or self.population % 2:
            raise ConfigError(f"population is {self.population}; give an even number, 4 or more")
        for name in ("crossover", "mutation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give 0 to 1")

    def run(
        self, problem: Problem, count: int, places: int, steps: int, seed: int, /
    ) -> Iterator[Found]:
        """See `erasure.attacks.search.problem.Search`; one step is one generation."""
        words = len(problem.tables[0])
        shape = (self.population, places)
        members = [
            torch.randint(words, shape, generator=generator_for(seed, "genetic", n))
            for n in range(count)
        ]
        losses = [_judged(problem, m, n, 0, self.part) for n, m in enumerate(members)]
        for step in range(steps):
            for n in range(count):
                draw = generator_for(seed, "genetic", n, step)
                best = losses[n].argsort(stable=True)[: self.population // 2]
                children = self._children(members[n][best], words, draw)
                born = _judged(problem, children, n, step, self.part)
                require_finite(born, step + 1, "genetic search")
                members[n] = torch.cat([members[n][best], children])
                losses[n] = torch.cat([losses[n][best], born])
            first = [int(one.argmin()) for one in losses]
            answer = torch.stack([m[k] for m, k in zip(members, first, strict=True)])
            yield Found(step + 1, tuple(float(one.min()) for one in losses), answer)

    def _children(self, parents: Tensor, words: int, draw: torch.Generator) -> Tensor:
        """As many as there are parents, (G / 2, k); the parents stay as they are."""
        half, places = parents.shape
        if not places:
            return parents.clone()
        order = torch.randperm(half, generator=draw)
        partner = torch.randint(half, (half,), generator=draw)
        cut = torch.randint(places, (half, 1), generator=draw)
        crossed = torch.rand(half, 1, generator=draw) < self.crossover
        behind = torch.arange(places)[None] >= cut
        children = torch.where(crossed & behind, parents[partner], parents[order])
        spot = torch.randint(places, (half, 1), generator=draw)
        new = torch.randint(words, (half, 1), generator=draw)
        changed = torch.rand(half, 1, generator=draw) < self.mutation
        return torch.where(changed & (torch.arange(places)[None] == spot), new, children)


@dataclass(frozen=True, kw_only=True, slots=True)
class CoordinateSearch:
    """Exchange one word a step: the best of candidates that the gradient names.

    Source: greedy coordinate gradient, arXiv:2307.15043, algorithm 1, as MMA-Diffusion
        (arXiv:2311.17516) uses it on a text encoder: the gradient by the one-hot choice, made of
        length 1 in each place, names `top` words a place, of which `candidates` are tried. In its
        release the gradient's rows are off by one token. Here, a step that makes nothing better
        changes nothing, so the loss never rises.
    """

    top: int = 256
    """Words a place that may be tried."""
    candidates: int = 512
    """Tried in a step."""
    part: int = 256
    """Candidates a pass."""

    def __post_init__(self) -> None:
        require_counts(self, "top", "candidates", "part")

    def run(
        self, problem: Problem, count: int, places: int, steps: int, seed: int, /
    ) -> Iterator[Found]:
        """See `erasure.attacks.search.problem.Search`."""
        words = len(problem.tables[0])
        held = torch.stack(
            [
                torch.randint(words, (places,), generator=generator_for(seed, "coordinate", n))
                for n in range(count)
            ]
        )
        losses = [0.0] * count
        which = torch.arange(count)
        for step in range(steps if places else 0):
            slopes_now = slopes(problem, looked_up(problem, held), which, step)
            require_finite(slopes_now.losses, step + 1, "coordinate search")
            slope = slopes_now.by_word(problem)
            slope = slope / slope.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            for n in range(count):
                draw = generator_for(seed, "coordinate", n, step)
                tried = self.exchanged(held[n], slope[n].cpu(), draw)
                judged = _judged(problem, tried, n, step, self.part)
                require_finite(judged, step + 1, "coordinate search")
                best = int(judged.argmin())
                losses[n] = float(slopes_now.losses[n])
                if float(judged[best]) < losses[n]:
                    held[n], losses[n] = tried[best], float(judged[best])
            yield Found(step + 1, tuple(losses), held.clone())

    def exchanged(self, held: Tensor, slope: Tensor, draw: torch.Generator) -> Tensor:
        """Candidates (N, k) that differ from `held` (k,) in exactly one place each.

        Args:
            slope: (k, A) gradient by the choice; where it is lowest, a word promises most.
        """
        places, words = slope.shape
        open_ = slope.clone()
        open_[torch.arange(places), held] = torch.inf  # the word itself is no exchange
        top = open_.topk(min(self.top, words - 1), dim=-1, largest=False).indices
        every = places * top.shape[1]
        if every <= self.candidates:
            chosen = torch.arange(every)
        else:
            chosen = torch.randperm(every, generator=draw)[: self.candidates]
        place, rank = chosen // top.shape[1], chosen % top.shape[1]
        tried = held[None].repeat(len(chosen), 1)
        tried[torch.arange(len(chosen)), place] = top[place, rank]
        return tried
