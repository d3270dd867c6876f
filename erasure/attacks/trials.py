"""What the runs of all attacks share: the budget, and what a drawing costs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from itertools import islice
from typing import Any, TypeVar

from torch import Tensor

from erasure.attacks.payload import Attempt, Case, Cost, Payload, plain
from erasure.attacks.target import Material, Target
from erasure.errors import ConfigError
from erasure.seeds import derived_seed

A = TypeVar("A")
Tries = Callable[[A, Target], Iterator[Attempt]]


def within_budget(tries: Tries[A]) -> Tries[A]:
    """Make the `run` of an attack of all that it would try: the attempts up to the budget; at a
    budget of 0 the plain ones, and nothing is searched."""

    @wraps(tries)
    def run(self: A, target: Target, /) -> Iterator[Attempt]:
        if target.budget.draws == 0:
            yield from map(plain, target.cases)
        else:
            yield from islice(tries(self, target), target.budget.draws)

    return run


def pictures_of(target: Target) -> Material:
    """The pictures of the concept that a search may use.

    Raises:
        ConfigError: there is none.
    """
    if target.pictures is None or not len(target.pictures):
        raise ConfigError("there is no picture of the concept; give at least one")
    return target.pictures


def cases_within(target: Target, turns: int) -> tuple[Case, ...]:
    """The cases of each of so many turns of a search: all, or as many as leave drawings for the
    last turn, which is where a search has come farthest; at least one."""
    return target.cases[: max(1, target.budget.draws // max(1, turns))]


def turns_within(target: Target, turns: int) -> int:
    """How many of so many turns the budget of drawings begins; the search ends with the last of
    them."""
    return min(turns, -(-target.budget.draws // len(cases_within(target, turns))))


def own_seed(target: Target, attack: str, case: Case, arm: str) -> int:
    """The seed of one arm of a case, so that no two tries of an attack begin in the same noise.

    Pictures of one seed under settings that hardly differ are nearly one picture, and an interval
    that counts them all would be too narrow.
    """
    return derived_seed(target.seed, attack, case.name, arm)


def drawing_cost(target: Target, draws: int, share: float = 1.0) -> Cost:
    """What so many drawings take, or as many as the budget has, each over a share of the sampling
    steps; at a budget of 0 what the plain ones take."""
    draws = min(draws, target.budget.draws)
    if target.budget.draws == 0:
        draws, share = len(target.cases), 1.0
    passes = target.architecture.passes(target.guidance)
    steps = round(target.steps * share)
    return Cost(forwards=draws * steps * passes, draws=draws, judged=draws)


def by_weights(
    target: Target, attack: str, arms: Iterable[tuple[str, Mapping[str, Tensor], Mapping[str, Any]]]
) -> Iterator[Attempt]:
    """Plain prompts drawn with other weights: by all arms of one case, then of the next.

    Args:
        attack: whose arms they are.
        arms: name, weights by name, and how they were made, of each.
    """
    listed = tuple(arms)
    for case in target.cases:
        for arm, weights, replay in listed:
            payload = Payload(prompt=case.prompt, weights=weights, replay=replay)
            seed = own_seed(target, attack, case, arm)
            yield Attempt(case=case, payload=payload, arm=arm, seed=seed)
