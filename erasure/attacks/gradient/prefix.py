"""Words before the prompt under which the model denoises pictures of the concept."""

from dataclasses import dataclass
from typing import ClassVar

from erasure.attacks.gradient.prompt_search import PromptSearch
from erasure.attacks.protocol import Access, Need
from erasure.attacks.search.goals import NoiseGoal
from erasure.attacks.search.problem import Goal, Search
from erasure.attacks.search.relaxed import SimplexSearch
from erasure.attacks.search.slots import Slots
from erasure.attacks.target import Ledger, Target
from erasure.setting_checks import require_not_negative, require_positive


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefix(PromptSearch):
    """UnlearnDiffAtk: mixtures of words on the simplex, by the model's own noise loss.

    Source: arXiv:2310.11868 and its release. There, 50 noise levels have 40 steps each, and after
        each of them a picture is judged, up to the first hit; words may be any pieces; the picture
        is the mean of its posterior, of which a sample is taken here; and the success on plain
        prompts is counted in.
    """

    name: ClassVar[str] = "prefix"
    title: ClassVar[str] = "words before the prompt, found by the model's own noise loss"
    source: ClassVar[str] = "UnlearnDiffAtk, arXiv:2310.11868"
    needs: ClassVar[frozenset[Need]] = frozenset({"words", "gradient", "picture"})
    access: ClassVar[Access] = "prefix by gradient"
    replaces: ClassVar[bool] = False

    learning_rate: float = 0.01
    """Rate of Adam."""
    weight_decay: float = 0.1
    """Coupled with the gradient."""

    def __post_init__(self) -> None:
        PromptSearch.__post_init__(self)
        require_positive(self, "learning_rate")
        require_not_negative(self, "weight_decay")

    def search(self) -> Search:
        """On the simplex."""
        return SimplexSearch(learning_rate=self.learning_rate, weight_decay=self.weight_decay)

    def goal(self, target: Target, ledger: Ledger, slots: Slots, prompts: list[str]) -> Goal:
        """The noise loss."""
        return NoiseGoal(ledger.counted(target.denoise), self.pictures(target))
