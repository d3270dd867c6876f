"""Words whose features are those of a prompt with the concept added; no model is asked."""

from dataclasses import dataclass
from typing import ClassVar

from erasure.attacks.gradient.text_search import TextSearch
from erasure.attacks.search.discrete import GeneticSearch
from erasure.attacks.search.goals import FeatureGoal, concept_vector
from erasure.attacks.search.problem import Goal, Search
from erasure.attacks.search.slots import OPEN, Slots, opened
from erasure.attacks.target import Ledger, Target
from erasure.setting_checks import require_not_negative


@dataclass(frozen=True, kw_only=True, slots=True)
class ConceptVector(TextSearch):
    """Ring-A-Bell: a genetic search for f(prompt) + eta c, with c from pairs of prompts.

    Source: arXiv:2310.10012 and its release, whose settings are a population of 200 over 3,000
        generations, 16 to 75 words and eta 3 to 5.5. There, a mutation may spoil the best.
    """

    name: ClassVar[str] = "concept-vector"
    title: ClassVar[str] = "words that the text encoder takes for the concept, by genetic search"
    source: ClassVar[str] = "Ring-A-Bell, arXiv:2310.10012"

    steps: int = 25
    """Generations a round."""
    strength: float = 3.0
    """eta, how much of the concept is added."""
    population: int = 100
    """Texts of a generation."""

    def __post_init__(self) -> None:
        TextSearch.__post_init__(self)
        self.search()
        require_not_negative(self, "strength")

    def search(self) -> Search:
        """By generations."""
        return GeneticSearch(population=self.population, part=self.population)

    def goal(self, target: Target, ledger: Ledger, slots: Slots, prompts: list[str]) -> Goal:
        """The distance to the features of the prompts with the concept added."""
        vector = concept_vector(target.told, pairs_of(target))
        return FeatureGoal(target.told(prompts).tokens + self.strength * vector)


def pairs_of(target: Target) -> list[tuple[str, str]]:
    """The concept's own pairs; without any, its prompts with and without its name."""
    if target.concept.pairs:
        return list(target.concept.pairs)
    own = target.concept.called
    made = [
        (p, " ".join(opened(p, *own).replace(OPEN, " ").split())) for p in target.concept.prompts
    ]
    return [(one, other) for one, other in made if one != other]
