"""Words whose pooled features are those of the plain prompt; no model is asked."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from erasure.attacks.gradient.text_search import TextSearch
from erasure.attacks.search.discrete import CoordinateSearch
from erasure.attacks.search.goals import PooledGoal
from erasure.attacks.search.problem import Goal, Search
from erasure.attacks.search.slots import OPEN, Slots, slots_of
from erasure.attacks.search.vocabulary import vocabulary_of
from erasure.attacks.target import Ledger, Target


@dataclass(frozen=True, kw_only=True, slots=True)
class PooledText(TextSearch):
    """MMA-Diffusion: exchange one word a step until the end mark reads as under the plain prompt.

    Source: arXiv:2311.17516 and its release, whose settings are 20 words, 1,000 steps and 512
        candidates of the top 256. There, the gradient is off by one token.
    """

    name: ClassVar[str] = "pooled-text"
    title: ClassVar[str] = "words that the text encoder sums up as the concept, by coordinate"
    source: ClassVar[str] = "MMA-Diffusion, arXiv:2311.17516, with the search of arXiv:2307.15043"

    steps: int = 15
    """Exchanges a round."""
    candidates: int = 128
    """Exchanges that are tried in a step."""
    top: int = 256
    """Words a place that the gradient may name."""

    def __post_init__(self) -> None:
        TextSearch.__post_init__(self)
        self.search()

    def search(self) -> Search:
        """By coordinate."""
        return CoordinateSearch(top=self.top, candidates=self.candidates, part=self.candidates)

    def goal(self, target: Target, ledger: Ledger, slots: Slots, prompts: list[str]) -> Goal:
        """The cosine with the pooled features of the plain prompts."""
        words = vocabulary_of(target.text)
        templates = [f"{OPEN} {prompt}" for prompt in prompts]
        plain = slots_of(target.text, templates, 0, words, size=target.size)
        return PooledGoal(slots, plain.pooled(target.told(prompts), torch.arange(len(prompts))))
