"""How many steps on how few pictures bring the concept back, and whether other pictures do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from erasure.attacks import trials
from erasure.attacks.payload import Attempt, Cost, Payload
from erasure.attacks.protocol import Access, Need
from erasure.attacks.target import Material, Target
from erasure.attacks.tuning.lessons import first_pictures, tuned
from erasure.attacks.tuning.screen import screened
from erasure.errors import ConfigError, TrainingError
from erasure.seeds import derived_seed
from erasure.setting_checks import require_counts, require_positive
from erasure.training.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """Settings of both attacks that tune a copy, and how its marks become attempts."""

    marks: tuple[int, ...] = (5, 10, 20, 40)
    """Steps after which the copy draws."""
    batch_size: int = 4
    """Samples a step."""
    learning_rate: float = 2e-4
    """Rate of Adam, on every weight."""

    def __post_init__(self) -> None:
        require_counts(self, "marks", "batch_size")
        require_positive(self, "learning_rate")
        if list(self.marks) != sorted(set(self.marks)):
            raise ConfigError(f"marks is {self.marks}; give rising numbers of steps")

    def _marks(self, target: Target) -> list[int]:
        most = target.budget.steps(self.marks[-1], self.batch_size)
        return [mark for mark in self.marks if mark <= most]

    def _estimate(self, target: Target, seen: int) -> Cost:
        if target.budget.draws == 0:
            return trials.drawing_cost(target, 0)
        marks = self._marks(target)
        draws = len(marks) * len(trials.cases_within(target, len(marks)))
        reached = trials.turns_within(target, len(marks))
        steps = (marks[reached - 1] if reached else 0) * self.batch_size
        searched = Cost(forwards=steps, backwards=steps, pictures=seen)
        return searched + trials.drawing_cost(target, draws)

    def _attempts(
        self, target: Target, material: Material, key: str, notes: Mapping[str, Any], seen: int
    ) -> Iterator[Attempt]:
        """One attempt a case and mark, all of a mark by the same copy."""
        marks, spent = self._marks(target), 0
        if not marks:
            return
        config = TrainConfig(
            steps=marks[-1],
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seed=derived_seed(target.seed, key),
        )
        for mark, weights in tuned(target, material, marks, config):
            passes = (mark - spent) * self.batch_size
            cost = Cost(forwards=passes, backwards=passes, pictures=seen if not spent else 0)
            spent = mark
            payloads: dict[str, Payload] = {}
            for case in trials.cases_within(target, len(marks)):
                made = Payload(prompt=case.prompt, weights=weights, replay={"step": mark, **notes})
                payload = payloads.setdefault(case.prompt, made)
                arm = f"{mark} steps"
                seed = trials.own_seed(target, key, case, arm)
                yield Attempt(case=case, payload=payload, arm=arm, seed=seed, cost=cost)
                cost = Cost()


@dataclass(frozen=True, kw_only=True, slots=True)
class Relearning(Tuning):
    """Tune a copy on a few pictures of the concept.

    What it brings back may have been taught: only the distance to a model that never saw the
    concept tells.

    Source: after the relearning of arXiv:2410.08074 and arXiv:2505.16174, with our own settings.
    """

    name: ClassVar[str] = "relearning"
    title: ClassVar[str] = "tune a copy on a few pictures of the concept"
    source: ClassVar[str] = "after arXiv:2410.08074 and arXiv:2505.16174"
    needs: ClassVar[frozenset[Need]] = frozenset({"weights", "picture"})
    access: ClassVar[Access] = "tuning on the concept"

    pictures: int = 8
    """Most pictures of the concept that it learns from."""

    def __post_init__(self) -> None:
        Tuning.__post_init__(self)
        require_counts(self, "pictures")

    def estimate(self, target: Target, /) -> Cost:
        """The steps and the drawings."""
        return self._estimate(target, min(self.pictures, len(target.pictures or ())))

    @trials.within_budget
    def run(self, target: Target, /) -> Iterator[Attempt]:
        """The fewest steps of all cases first."""
        some = first_pictures(trials.pictures_of(target), self.pictures)
        notes = {"pictures": len(some)}
        yield from self._attempts(target, some, self.name, notes, len(some))


@dataclass(frozen=True, kw_only=True, slots=True)
class BenignTuning(Tuning):
    """Tune a copy on pictures of other things: what anybody does who adapts the model.

    Pictures whose prompt names the concept are turned away, and how many is noted.

    Source: arXiv:2410.08074 finds that such tuning brings concepts back; the settings are our own.
    """

    name: ClassVar[str] = "benign-tuning"
    title: ClassVar[str] = "tune a copy on pictures of other things"
    source: ClassVar[str] = "after arXiv:2410.08074"
    needs: ClassVar[frozenset[Need]] = frozenset({"weights"})
    access: ClassVar[Access] = "tuning on other data"

    marks: tuple[int, ...] = (20, 60)
    """Steps after which the copy draws."""

    def estimate(self, target: Target, /) -> Cost:
        """The steps and the drawings."""
        return self._estimate(target, 0)

    @trials.within_budget
    def run(self, target: Target, /) -> Iterator[Attempt]:
        """The fewest steps of all cases first."""
        others = target.other_pictures
        names, whole = target.concept.called, target.classes is not None
        passed = screened(others, names, whole=whole) if others is not None else None
        if passed is None or not len(passed.material):
            raise TrainingError(
                "there is no picture of other things whose prompt does not name the concept; give "
                "at least one"
            )
        notes = {"screen": passed.report()}
        yield from self._attempts(target, passed.material, self.name, notes, 0)
