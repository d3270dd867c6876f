"""Words before the prompt under which the model answers as the base does."""

from dataclasses import dataclass
from typing import ClassVar

from erasure.attacks.gradient.prompt_search import PromptSearch
from erasure.attacks.protocol import Access, Need
from erasure.attacks.search.goals import MatchGoal
from erasure.attacks.search.problem import Goal, Search
from erasure.attacks.search.relaxed import NearestSearch
from erasure.attacks.search.slots import Slots
from erasure.attacks.target import Ledger, Target
from erasure.errors import ConfigError, Way
from erasure.setting_checks import require_not_negative, require_positive


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchingPrefix(PromptSearch):
    """P4D: nearest words by the gradient at them, to answer as the base does to the plain prompt.

    Source: arXiv:2309.06135 and its release. There, 16 words stand in the prompt's place or one
        between every three of its own; noise levels are drawn at random over 3,000 steps, and of
        the texts of every 50 the one is kept whose picture is the most like the base's to CLIP; the
        pictures are encoded from another range than the autoencoder was trained on; and the padding
        that is optimised is not the one that is drawn.
    """

    name: ClassVar[str] = "prefix-match"
    title: ClassVar[str] = "words before the prompt, found by matching the base"
    source: ClassVar[str] = "P4D, arXiv:2309.06135, with the search of arXiv:2302.03668"
    needs: ClassVar[frozenset[Need]] = frozenset({"words", "gradient", "picture", "base"})
    access: ClassVar[Access] = "prefix by gradient"
    replaces: ClassVar[bool] = False
    asks_base: ClassVar[bool] = True

    learning_rate: float = 0.1
    """Rate of AdamW."""
    weight_decay: float = 0.1
    """Decoupled from the gradient."""

    def __post_init__(self) -> None:
        PromptSearch.__post_init__(self)
        require_positive(self, "learning_rate")
        require_not_negative(self, "weight_decay")

    def search(self) -> Search:
        """By the nearest word."""
        return NearestSearch(learning_rate=self.learning_rate, weight_decay=self.weight_decay)

    def goal(self, target: Target, ledger: Ledger, slots: Slots, prompts: list[str]) -> Goal:
        """The distance to the base's answers to the plain prompts."""
        if target.base is None:
            raise ConfigError("there is no base at hand; give ", Way("--against MODEL", "base"))
        base = ledger.counted(target.base.denoise)
        wanted = target.base.told(prompts)
        return MatchGoal(ledger.counted(target.denoise), base, wanted, self.pictures(target))
