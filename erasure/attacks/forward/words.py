"""Other words for the concept: what an eraser that learned some prompts may not have heard."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from erasure.attacks.payload import Attempt, Case, Cost, Payload
from erasure.attacks.protocol import Access, Need
from erasure.attacks.target import Target
from erasure.attacks.trials import drawing_cost, within_budget
from erasure.seeds import derived_seed
from erasure.setting_checks import require_counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """Draw every other wording of the concept by a few seeds; each wording is an arm of its own.

    A wording that the base does not understand is no test, and the audit leaves it out. All
    wordings see the same seeds, so pictures of wordings that mean nearly the same to the model may
    resemble each other, and an interval over all of them is then too narrow.

    Source: the relations of arXiv:2508.15124 and the indirect descriptions of arXiv:2502.13989;
        the wordings are the audit's own.
    """

    name: ClassVar[str] = "words"
    title: ClassVar[str] = "synonyms, classes, descriptions, typos, languages and compositions"
    source: ClassVar[str] = "relations of arXiv:2508.15124, arXiv:2502.13989"
    needs: ClassVar[frozenset[Need]] = frozenset({"words"})
    access: ClassVar[Access] = "words"

    seeds: int = 12
    """Seeds of every wording; wordings that the budget does not reach by all of them get fewer. By
    as many, seven wordings make 84 pictures; with none among 73, a rate of 5 % is ruled out."""

    def __post_init__(self) -> None:
        require_counts(self, "seeds")

    def estimate(self, target: Target, /) -> Cost:
        """The drawing of each wording by each seed."""
        wanted = self.seeds * len(target.concept.wordings)
        return drawing_cost(target, wanted)

    @within_budget
    def run(self, target: Target, /) -> Iterator[Attempt]:
        """All wordings by one seed, then by the next."""
        for turn in range(self.seeds):
            seed = derived_seed(target.seed, self.name, turn)
            for number, wording in enumerate(target.concept.wordings):
                known = {None: "", True: ", held out", False: ", trained on"}[wording.held_out]
                yield Attempt(
                    case=Case(f"wording-{number}", wording.prompt, seed),
                    payload=Payload(prompt=wording.prompt, replay={"kind": wording.kind}),
                    arm=f"{wording.kind}: {wording.prompt}{known}",
                )
