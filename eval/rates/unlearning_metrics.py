"""How well a classifier has forgotten: UA, RA, TA, MIA, run time, and the gap to retraining.

Definitions of arXiv:2310.12508, table 1, and its released code. None of the four has a good value
of its own: the target of each is what a model retrained without the forget data gets.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Final

from eval.errors import EvalError
from eval.rates.membership import membership_efficacy
from eval.rates.predictions import Predictions

METRICS: Final = ("ua", "ra", "ta", "mia")
"""What Avg Gap is the mean over."""


@dataclass(frozen=True, slots=True)
class Scores:
    """One model after forgetting, in per cent."""

    ua: float
    """Unlearning accuracy: 100 - accuracy on the forget set."""
    ra: float
    """Accuracy on the retain set."""
    ta: float
    """Accuracy on the test set; without a forgotten class, where one was."""
    mia: float
    """`membership_efficacy` by confidence; more is more forgotten."""
    seconds: float = 0.0
    """Run time (RTE) of the forgetting, wall clock."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A value over seeds."""

    mean: float
    deviation: float
    """Sample standard deviation; 0 of a single seed."""
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.2f}±{self.deviation:.2f}"


def unlearning_scores(
    retain: Predictions,
    forget: Predictions,
    test: Predictions,
    *,
    seconds: float = 0.0,
    forgotten_class: int | None = None,
    grid: int | None = None,
) -> Scores:
    """The four scores of one model.

    Args:
        retain: its answers on the training data that stays, in data order.
        forget: on what was to be forgotten.
        test: on test data.
        seconds: run time of the forgetting.
        forgotten_class: where a whole class was; its test examples are left out, as in the paper.
        grid: see `membership_efficacy`; None is the exact attack.

    Raises:
        EvalError: nothing is left of the test data, or scikit-learn is not installed.
    """
    if forgotten_class is not None:
        test = test.without_class(forgotten_class)
    return Scores(
        ua=100 - forget.accuracy,
        ra=retain.accuracy,
        ta=test.accuracy,
        mia=membership_efficacy(retain, test, forget, grid=grid),
        seconds=seconds,
    )


def average_gap(scores: Scores, retrained: Scores) -> float:
    """Mean over UA, RA, TA and MIA of |score - that of the retrained model|, in points."""
    gaps = [abs(getattr(scores, name) - getattr(retrained, name)) for name in METRICS]
    return float(mean(gaps))


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Each score's mean over seeds.

    Published tables take `average_gap` of two such means. By chance above and below cancel there,
    so the mean of each seed's own gap, `seed_gaps`, is never smaller.

    Raises:
        EvalError: there are none.
    """
    if not scores:
        raise EvalError("there are no scores to average; give those of at least one seed")
    return Scores(*(mean(getattr(s, n) for s in scores) for n in (*METRICS, "seconds")))


def seed_gaps(scores: Mapping[int, Scores], retrained: Mapping[int, Scores]) -> list[float]:
    """Avg Gap of each seed that both have, in the order of the seeds.

    Raises:
        EvalError: they share no seed.
    """
    shared = sorted(set(scores) & set(retrained))
    if not shared:
        raise EvalError(
            f"scores are of the seeds {sorted(scores)} and those of retraining of "
            f"{sorted(retrained)}; compare models of the same seeds"
        )
    return [average_gap(scores[seed], retrained[seed]) for seed in shared]


def spread(values: Iterable[float]) -> Spread:
    """Mean and sample standard deviation.

    Raises:
        EvalError: there are none.
    """
    numbers = list(values)
    if not numbers:
        raise EvalError("there are no values to average; give at least one")
    return Spread(mean(numbers), stdev(numbers) if len(numbers) > 1 else 0.0, len(numbers))
