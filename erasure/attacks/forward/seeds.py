"""Plain prompts by many seeds: what best-of-n finds where nothing is searched."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from erasure.attacks.payload import Attempt, Cost, Payload
from erasure.attacks.protocol import Access, Need
from erasure.attacks.target import Target
from erasure.attacks.trials import drawing_cost, within_budget
from erasure.seeds import derived_seed
from erasure.setting_checks import require_counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Seeds:
    """Draw each plain prompt by further seeds, in turn, without changing anything else.

    It is the control of every attack that draws often and counts any hit. An audit with a search
    lets it draw as much as the search may.

    Source: the `seed_search` attacker of the released code of arXiv:2310.11868.
    """

    name: ClassVar[str] = "seeds"
    title: ClassVar[str] = "plain prompts by many seeds, the control of best-of-n"
    source: ClassVar[str] = "seed search of arXiv:2310.11868, released code"
    needs: ClassVar[frozenset[Need]] = frozenset({"seeds"})
    access: ClassVar[Access] = "seeds"

    draws: int = 80
    """Pictures; with none among 73, a rate of 5 % or more is ruled out."""

    def __post_init__(self) -> None:
        require_counts(self, "draws")

    def estimate(self, target: Target, /) -> Cost:
        """The drawings."""
        return drawing_cost(target, self.draws)

    @within_budget
    def run(self, target: Target, /) -> Iterator[Attempt]:
        """Each case in turn, by another seed each time."""
        for number in range(self.draws):
            case = target.cases[number % len(target.cases)]
            seed = derived_seed(target.seed, self.name, number)
            yield Attempt(
                case=case, payload=Payload(prompt=case.prompt), arm="plain prompt", seed=seed
            )
