"""UA, RA, TA, MIA and Avg Gap, against the published table and by hand."""

import numpy as np
import pytest

from eval.errors import EvalError
from eval.rates.predictions import Predictions, predictions_of
from eval.rates.unlearning_metrics import (
    Scores,
    average_gap,
    mean_scores,
    seed_gaps,
    spread,
    unlearning_scores,
)

# arXiv:2310.12508, table 1: CIFAR-10, ResNet-18, random forgetting, means of ten trials.
# Method: UA, RA, TA, MIA, Avg Gap as printed.
TABLE = {
    "10%": {
        "Retrain": (5.24, 100.00, 94.26, 12.88, 0.00),
        "FT": (0.63, 99.88, 94.06, 2.70, 3.78),
        "RL": (7.61, 99.67, 92.83, 37.36, 7.15),
        "GA": (0.69, 99.50, 94.01, 1.70, 4.12),
        "IU": (1.07, 99.20, 93.20, 2.67, 4.06),
        "BE": (0.59, 99.42, 93.85, 7.47, 2.76),
        "BS": (1.78, 98.29, 92.69, 8.96, 2.67),
        "l1-sparse": (4.19, 97.74, 91.59, 9.84, 2.26),
        "SalUn": (2.85, 99.62, 93.93, 14.39, 1.15),
        "SalUn-soft": (4.19, 99.74, 93.44, 19.49, 2.19),
    },
    "50%": {
        "Retrain": (7.91, 100.00, 91.72, 19.29, 0.00),
        "FT": (0.44, 99.96, 94.23, 2.15, 6.79),
        "RL": (4.80, 99.55, 91.31, 41.95, 6.65),
        "GA": (0.40, 99.61, 94.34, 1.22, 7.15),
        "IU": (3.97, 96.21, 90.00, 7.29, 5.36),
        "BE": (3.08, 96.84, 90.41, 24.87, 3.72),
        "BS": (9.76, 90.19, 83.71, 32.15, 8.13),
        "l1-sparse": (1.44, 99.52, 93.13, 4.76, 5.72),
        "SalUn": (7.75, 94.28, 89.29, 16.99, 2.65),
        "SalUn-soft": (3.41, 99.62, 91.82, 31.50, 4.30),
    },
}
ROWS = [(share, method) for share, rows in TABLE.items() for method in rows]


def answers(confidences: list[float], labels: list[int], classes: int = 3) -> Predictions:
    """Answers whose true label has the given probability and whose others share the rest."""
    p = np.tile(((1 - np.array(confidences)) / (classes - 1))[:, None], classes)
    p[np.arange(len(labels)), labels] = confidences
    return predictions_of(np.log(p), labels)


@pytest.mark.parametrize(("share", "method"), ROWS)
def test_avg_gap_is_that_of_the_published_table(share: str, method: str) -> None:
    *scores, printed = TABLE[share][method]
    gap = average_gap(Scores(*scores), Scores(*TABLE[share]["Retrain"][:4]))
    # Both the scores and the gap are rounded to two digits in the paper.
    assert gap == pytest.approx(printed, abs=0.011)


def test_the_scores_are_accuracies_and_the_share_called_unseen() -> None:
    retain = answers([0.99, 0.98, 0.97, 0.3], [0, 1, 2, 0])
    test = answers([0.4, 0.35, 0.8, 0.1], [0, 1, 2, 0])
    forget = answers([0.2, 0.98], [1, 2])
    scores = unlearning_scores(retain, forget, test, seconds=3.0)
    assert (scores.ua, scores.ra, scores.ta, scores.seconds) == (50.0, 75.0, 75.0, 3.0)
    assert scores.mia == 50.0


def test_a_forgotten_class_is_left_out_of_the_test_data() -> None:
    retain = answers([0.9] * 4, [1, 2, 1, 2])
    test = answers([0.9, 0.1, 0.9], [1, 0, 2])
    forget = answers([0.1, 0.1], [0, 0])
    assert unlearning_scores(retain, forget, test).ta == pytest.approx(200 / 3)
    assert unlearning_scores(retain, forget, test, forgotten_class=0).ta == 100.0


def test_test_data_of_the_forgotten_class_alone_is_refused() -> None:
    some = answers([0.9, 0.8], [0, 0])
    with pytest.raises(EvalError, match="give examples of other classes"):
        unlearning_scores(some, some, some, forgotten_class=0)


def test_gaps_that_cancel_in_the_mean_do_not_cancel_seed_by_seed() -> None:
    retrained = {0: Scores(5, 100, 90, 10), 1: Scores(5, 100, 90, 10)}
    scores = {0: Scores(1, 100, 90, 10), 1: Scores(9, 100, 90, 10)}
    means = mean_scores(list(scores.values())), mean_scores(list(retrained.values()))
    assert average_gap(*means) == 0.0
    assert seed_gaps(scores, retrained) == [1.0, 1.0]


def test_seeds_that_do_not_meet_are_refused() -> None:
    with pytest.raises(EvalError, match="models of the same seeds"):
        seed_gaps({0: Scores(1, 1, 1, 1)}, {1: Scores(1, 1, 1, 1)})


def test_a_spread_is_the_mean_and_the_sample_deviation() -> None:
    summary = spread([1.0, 2.0, 3.0])
    assert (summary.mean, summary.deviation, summary.count) == (2.0, 1.0, 3)
    assert str(summary) == "2.00±1.00"
    assert spread([4.0]).deviation == 0.0


@pytest.mark.parametrize("values", [[], ()])
def test_a_spread_of_nothing_is_refused(values: list[float]) -> None:
    with pytest.raises(EvalError, match="at least one"):
        spread(values)


def test_a_mean_of_no_scores_is_refused() -> None:
    with pytest.raises(EvalError, match="at least one seed"):
        mean_scores([])
