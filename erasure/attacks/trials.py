"""What the runs of all attacks share: the budget, and what a drawing costs."""

from collections.abc import Iterable, Iterator
from itertools import islice

from erasure.attacks.payload import Attempt, Case, Cost, plain
from erasure.attacks.target import Target
from erasure.seeds import derived_seed


def within(target: Target, attempts: Iterable[Attempt]) -> Iterator[Attempt]:
    """The attempts up to the budget; at a budget of 0 the plain ones, and nothing is searched."""
    if target.budget.draws == 0:
        yield from map(plain, target.cases)
        return
    yield from islice(attempts, target.budget.draws)


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
    """What so many drawings take, each over a share of the sampling steps; at a budget of 0 what
    the plain ones take."""
    if target.budget.draws == 0:
        draws, share = len(target.cases), 1.0
    passes = target.architecture.passes(target.guidance)
    steps = round(target.steps * share)
    return Cost(forwards=draws * steps * passes, draws=draws, judged=draws)
