"""What the judge of an audit can call a picture, beside the concept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval.judges.judge import Guess, Judgement, rejecting_heads
from pipelines.run.judging.cell_judge import CellJudge


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The labels of one head, and those of its other heads."""

    head: str | None
    """None where the judge has one head, whatever its name."""
    concept: tuple[str, ...]
    """Labels that mean the concept."""
    others: tuple[str, ...]
    """All other labels of the head."""
    attributes: Mapping[str, tuple[str, ...]]
    """Further heads, each with its labels: on the canvas the styles, where objects are erased."""

    def guesses(self, judgement: Judgement) -> tuple[Guess, ...]:
        """What the head sees, best first."""
        if self.head is not None:
            return judgement.guesses.get(self.head, ())
        return next(iter(judgement.guesses.values()), ())

    def first(self, judgement: Judgement) -> str:
        """The best guess."""
        seen = self.guesses(judgement)
        return seen[0].label if seen else ""

    def beside(self, judgement: Judgement) -> str:
        """The best guess that is not the concept: what stands beside it, or alone."""
        seen = [guess.label for guess in self.guesses(judgement)]
        return next((label for label in seen if label not in self.concept), "")

    def as_one(self, judgement: Judgement) -> Judgement:
        """The same with all labels of the concept, such as the things of a group, as its first."""

        def merged(guesses: Sequence[Guess]) -> tuple[Guess, ...]:
            own = [guess.score for guess in guesses if guess.label in self.concept]
            rest = [guess for guess in guesses if guess.label not in self.concept]
            whole = [Guess(self.concept[0], min(1.0, sum(own)))] if own else []
            return tuple(sorted((*whole, *rest), key=lambda guess: -guess.score))

        return Judgement(guesses={h: merged(said) for h, said in judgement.guesses.items()})


def vocabulary_of(judge: CellJudge) -> Vocabulary | None:
    """The labels of the head that knows the concept; None for a judge that names nothing else."""
    rejecting = rejecting_heads(judge.judge)
    heads: Mapping[str, tuple[str, ...]] = rejecting or {
        "": tuple(getattr(judge.judge, "labels", ()))
    }
    for head, labels in heads.items():
        concept = tuple(label for label in labels if _means(judge, head, label))
        others = tuple(label for label in labels if label not in concept)
        if concept and others:
            return Vocabulary(
                head=head or None,
                concept=concept,
                others=others,
                attributes={name: known for name, known in heads.items() if name != head},
            )
    return None


def _means(judge: CellJudge, head: str, label: str) -> bool:
    return judge.recognises(Judgement(guesses={head: (Guess(label, 1.0),)}))
