"""Concept inversion: one learned embedding in the place of the concept's name."""

# N pictures, E embedding features.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from erasure.attacks import trials
from erasure.attacks.payload import Attempt, Cost, Payload
from erasure.attacks.protocol import Access, Need
from erasure.attacks.search.open_class import OpenClass, open_class
from erasure.attacks.search.open_word import OpenWord, open_word
from erasure.attacks.search.soft_row import (
    RowSearch,
    RowStep,
    Vectors,
    halves,
    learn_row,
    row_loss,
)
from erasure.attacks.target import Ledger, Target
from erasure.errors import ConfigError
from erasure.seeds import derived_seed
from erasure.setting_checks import require_counts

Place = OpenWord | OpenClass
"""Where the row goes: a word of a prompt, or the concept's own row of the table of classes."""
_HELD_DRAWS = 2
"""Noisy samples of each picture that was held back, by which rows are compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SoftToken:
    """Learn one row on half of the pictures; the other half says how far it holds beyond them.

    Source: arXiv:2308.01508. There, the row starts at a word of the concept's kind, its length is
        not held, and it is learned on all pictures.
    """

    name: ClassVar[str] = "soft-token"
    title: ClassVar[str] = "one learned embedding in the place of the concept's name or class"
    source: ClassVar[str] = "arXiv:2308.01508, the row held to the longest of the table"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient", "picture"})
    access: ClassVar[Access] = "vector"

    marks: tuple[int, ...] = (50, 100, 200)
    """Steps after which the row is drawn."""
    batch_size: int = 8
    """Samples a step."""
    learning_rate: float = 0.02
    """Rate of AdamW."""
    restarts: int = 1
    """Searches: the first starts at the concept's own word or class, others at random ones."""

    def __post_init__(self) -> None:
        require_counts(self, "marks", "restarts")
        if list(self.marks) != sorted(set(self.marks)):
            raise ConfigError(f"marks is {self.marks}; give rising numbers of steps")
        RowSearch(batch_size=self.batch_size, learning_rate=self.learning_rate)

    def estimate(self, target: Target, /) -> Cost:
        """The steps, the comparisons and the drawings."""
        if target.budget.draws == 0:
            return trials.drawing_cost(target, 0)
        marks = self._marks(target)
        turns = self.restarts * len(marks)
        draws = turns * len(trials.cases_within(target, turns))
        reached = trials.turns_within(target, turns)
        whole, rest = divmod(reached, len(marks)) if marks else (0, 0)
        steps = whole * marks[-1] if whole else 0
        steps = (steps + (marks[rest - 1] if rest else 0)) * self.batch_size
        compared, seen = reached * self._compared_at(target), len(target.pictures or ())
        searched = Cost(forwards=steps + compared, backwards=steps, pictures=seen)
        return searched + trials.drawing_cost(target, draws)

    def _marks(self, target: Target) -> list[int]:
        """The marks that the budget of passes allows."""
        most, compared = target.budget.passes, self._compared_at(target)
        spent = [
            self.restarts * (mark * self.batch_size * 3 + number * compared)
            for number, mark in enumerate(self.marks, 1)
        ]
        return [m for m, one in zip(self.marks, spent, strict=True) if most is None or one <= most]

    @staticmethod
    def _compared_at(target: Target) -> int:
        """Samples by which a row is compared at a mark."""
        learned, held = halves(len(target.pictures or ()), target.seed)
        return len(held or learned) * _HELD_DRAWS

    @trials.within_budget
    def run(self, target: Target, /) -> Iterator[Attempt]:
        """The first mark of all cases first."""
        ledger, pictures = Ledger(), trials.pictures_of(target)
        place = open_word(target) if target.classes is None else open_class(target)
        learned, held = halves(len(pictures), target.seed)
        ledger.pictures += len(pictures)
        for restart in range(self.restarts):
            start = place.start(restart == 0, derived_seed(target.seed, self.name, restart))
            for step in self._learned(target, ledger, place, learned, start, restart):
                score = self._held_out(target, ledger, place, held or learned, step.vectors)
                replay = {
                    "step": step.step,
                    "restart": restart,
                    "learned on": learned,
                    "held back": held,
                    "held-out loss": score,
                    "length": [float(row.norm()) for row in step.vectors],
                }
                yield from self._drawn(target, place, step, replay, ledger)

    def _learned(
        self,
        target: Target,
        ledger: Ledger,
        place: Place,
        rows: list[int],
        start: Vectors,
        restart: int,
    ) -> Iterator[RowStep]:
        """The row at each mark that the budget allows."""
        pictures, marks = trials.pictures_of(target), self._marks(target)
        for step in learn_row(
            ledger.counted(place.denoise),
            target.schedule,
            place.lessons,
            pictures.mean[rows],
            pictures.std[rows],
            start,
            RowSearch(
                steps=marks[-1] if marks else 0,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
            ),
            seed=derived_seed(target.seed, self.name, "search", restart),
            device=target.device,
        ):
            ledger.backwards += self.batch_size
            if step.step in marks:
                yield step

    def _held_out(
        self, target: Target, ledger: Ledger, place: Place, rows: list[int], vectors: Vectors
    ) -> float:
        pictures = trials.pictures_of(target)
        return row_loss(
            ledger.counted(place.denoise),
            target.schedule,
            place.lessons,
            pictures.mean[rows],
            pictures.std[rows],
            vectors,
            seed=derived_seed(target.seed, self.name, "held out"),
            device=target.device,
            draws=_HELD_DRAWS,
        )

    def _drawn(
        self,
        target: Target,
        place: Place,
        step: RowStep,
        replay: dict[str, object],
        ledger: Ledger,
    ) -> Iterator[Attempt]:
        """One attempt a case; cases of one prompt share their payload."""
        payloads: dict[str, Payload] = {}
        restart = int(str(replay["restart"]))
        arm = f"{step.step} steps" + (f", start {restart + 1}" if restart else "")
        for case in trials.cases_within(target, self.restarts * len(self._marks(target))):
            if case.prompt not in payloads:
                payloads[case.prompt] = place.payload(case, step.vectors, replay)
            yield Attempt(
                case=case,
                payload=payloads[case.prompt],
                arm=arm,
                seed=trials.own_seed(target, self.name, case, arm),
                cost=ledger.since(),
                score=float(str(replay["held-out loss"])),
            )
