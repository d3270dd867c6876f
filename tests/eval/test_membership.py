"""Membership attacks: signals by hand, the paper's machine against scikit-learn's, LiRA."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.svm import SVC

from eval.errors import EvalError
from eval.rates.likelihood_ratio import likelihood_ratio, report, scaled_confidence
from eval.rates.membership import (
    GRID,
    SIGNALS,
    confidence,
    correctness,
    entropy,
    membership_efficacy,
    modified_entropy,
)
from eval.rates.predictions import Predictions, first_places, predictions_of


def answers(p: list[list[float]], labels: list[int]) -> Predictions:
    return predictions_of(np.log(np.array(p)), labels)


def drawn(rng: np.random.Generator, count: int, sharpness: float) -> Predictions:
    """Draw random answers, which favour the true label the more, the larger `sharpness` is."""
    labels = rng.integers(0, 4, count)
    logits = rng.normal(size=(count, 4))
    logits[np.arange(count), labels] += sharpness * rng.random(count)
    return predictions_of(logits, labels)


def paper_attack(
    retain: NDArray[np.float64], test: NDArray[np.float64], forget: NDArray[np.float64]
) -> float:
    """The released code's attack, written out."""
    retain = retain[: len(test)]
    points = np.concatenate([retain, test])[:, None]
    member = np.concatenate([np.ones(len(retain)), np.zeros(len(test))])
    machine = SVC(C=3, kernel="rbf", gamma="auto").fit(points, member)
    return 100 * (1 - float(machine.predict(forget[:, None]).mean()))


def test_signals_equal_their_formulas() -> None:
    p = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]
    given_answers = answers(p, [0, 1])
    np.testing.assert_allclose(confidence(given_answers), [0.7, 0.3])
    np.testing.assert_array_equal(correctness(given_answers), [1, 0])
    by_hand = [-sum(q * math.log(q) for q in row) for row in p]
    np.testing.assert_allclose(entropy(given_answers), by_hand)
    by_hand = [
        -(1 - row[y]) * math.log(row[y])
        - sum(q * math.log(1 - q) for n, q in enumerate(row) if n != y)
        for row, y in zip(p, [0, 1], strict=True)
    ]
    np.testing.assert_allclose(modified_entropy(given_answers), by_hand)


def test_modified_entropy_is_finite_where_a_wrong_class_is_certain() -> None:
    # p = (1 - 2e-44, 2e-44): -(1 - p_y) log p_y - p_0 log(1 - p_0) = 100 + 100.
    certain = predictions_of(np.array([[100.0, 0.0]]), [1])
    np.testing.assert_allclose(modified_entropy(certain), [200.0])
    right = predictions_of(np.array([[100.0, 0.0]]), [0])
    np.testing.assert_allclose(modified_entropy(right), [0.0], atol=1e-40)


@pytest.mark.parametrize("sharpness", [1.0, 4.0, 8.0])
def test_the_attack_is_the_papers(sharpness: float) -> None:
    rng = np.random.default_rng(0)
    retain, test, forget = drawn(rng, 150, sharpness), drawn(rng, 90, 2), drawn(rng, 60, 3)
    expected = paper_attack(confidence(retain), confidence(test), confidence(forget))
    assert membership_efficacy(retain, test, forget) == pytest.approx(expected)


def test_merging_on_a_grid_keeps_the_score() -> None:
    rng = np.random.default_rng(1)
    retain, test, forget = drawn(rng, 800, 8), drawn(rng, 800, 5), drawn(rng, 500, 6)
    exact = membership_efficacy(retain, test, forget)
    # The threshold may move by a step or two of the grid, and past a few of the 500 with it.
    assert membership_efficacy(retain, test, forget, grid=GRID) == pytest.approx(exact, abs=1.0)


def test_the_grid_bounds_the_time_of_the_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []

    class Counting(SVC):
        def fit(self, points: NDArray[np.float64], *rest: Any, **more: Any) -> "Counting":  # noqa: ANN401
            fitted.append(len(points))
            super().fit(points, *rest, **more)
            return self

    monkeypatch.setattr("sklearn.svm.SVC", Counting)
    rng = np.random.default_rng(6)
    retain, test = drawn(rng, 10_000, 8), drawn(rng, 10_000, 5)
    membership_efficacy(retain, test, retain.first(10), grid=256)
    assert fitted[0] <= 2 * 257  # each step of the grid once a side, whatever the data


@pytest.mark.parametrize(("like_training", "expected"), [(True, 0.0), (False, 100.0)])
def test_separable_data_gives_the_extremes(like_training: bool, expected: float) -> None:
    sure, unsure = answers([[0.99, 0.01]] * 9, [0] * 9), answers([[0.2, 0.8]] * 9, [0] * 9)
    forget = sure if like_training else unsure
    assert membership_efficacy(sure, unsure, forget) == expected


def test_members_are_the_first_of_the_retain_data() -> None:
    sure, unsure = [[0.99, 0.01]], [[0.2, 0.8]]
    retain = answers(sure * 5 + unsure * 50, [0] * 55)
    assert membership_efficacy(retain, answers(unsure * 5, [0] * 5), answers(sure, [0])) == 0.0


def test_members_of_data_that_come_class_by_class_are_of_all_classes() -> None:
    # One class is easy and one hard; in both a member is surer than what was never seen, and what
    # was to be forgotten is as sure as a member. By members of the easy class alone, which come
    # first, the hard half of the forget set would pass for never seen.
    def part(each: int, easy: float, hard: float) -> Predictions:
        rows = [[easy, 1 - easy]] * each + [[1 - hard, hard]] * each
        return answers(rows, [0] * each + [1] * each)

    retain, test, forget = part(80, 0.99, 0.7), part(20, 0.6, 0.3), part(10, 0.99, 0.7)
    assert membership_efficacy(retain, test, forget) == 0.0
    few = part(5, 0.99, 0.7)
    assert membership_efficacy(few, test, forget) == 0.0


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5), share=st.floats(0, 1))
def test_as_many_examples_are_taken_in_order_and_of_every_class_alike(
    sizes: list[int], share: float
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    count = int(share * len(labels))
    places = first_places(labels, count)
    assert len(set(places.tolist())) == count
    assert (np.diff(places) > 0).all()
    for label, size in enumerate(sizes):
        assert abs((labels[places] == label).sum() - count * size / len(labels)) <= 1 + 1e-9
    assert first_places(labels[::-1], count).tolist() == list(range(count)) or len(sizes) == 1


def test_a_small_retain_set_weighs_as_much_as_the_test_set() -> None:
    rng = np.random.default_rng(2)
    retain, test = drawn(rng, 40, 8), drawn(rng, 400, 2)
    same = membership_efficacy(retain, test, retain)
    assert same == membership_efficacy(retain, test.first(40), retain)


@pytest.mark.parametrize("signal", sorted(SIGNALS))
@pytest.mark.parametrize("grid", [None, GRID])
def test_every_signal_gives_a_percentage(signal: str, grid: int | None) -> None:
    rng = np.random.default_rng(3)
    retain, test, forget = drawn(rng, 50, 6), drawn(rng, 50, 1), drawn(rng, 20, 1)
    percentage = membership_efficacy(retain, test, forget, signal=signal, grid=grid)
    assert 0 <= percentage <= 100


def test_unknown_signals_and_grids_are_refused() -> None:
    some = answers([[0.5, 0.5]], [0])
    with pytest.raises(EvalError, match="give one of confidence"):
        membership_efficacy(some, some, some, signal="loss")
    with pytest.raises(EvalError, match="give 2 or more"):
        membership_efficacy(some, some, some, grid=1)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([[0.0, 1.0]], [2], "labels run from 2 to 2"),
        ([[0.0, 1.0]], [-1], "labels run from -1"),
        ([[0.0, math.nan]], [0], "1 of 1 examples"),
        ([[0.0, 1.0]], [0, 1], "give .examples, classes."),
        ([0.0, 1.0], [0, 1], "give .examples, classes."),
        (np.zeros((0, 3)), [], "at least one example"),
    ],
)
def test_answers_that_make_no_sense_are_refused(
    logits: list[list[float]], labels: list[int], message: str
) -> None:
    with pytest.raises(EvalError, match=message):
        predictions_of(logits, labels)


def test_tensors_of_any_type_and_arrays_give_the_same() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 1, 0])
    of_tensor = predictions_of(logits.bfloat16(), labels)
    of_array = predictions_of(logits.bfloat16().double().numpy(), labels.numpy())
    np.testing.assert_array_equal(of_tensor.log_probabilities, of_array.log_probabilities)
    assert of_tensor.accuracy == of_array.accuracy


@given(shift=st.floats(-50, 50), gap=st.floats(-300, 300))
def test_scaled_confidence_is_the_difference_of_two_logits(shift: float, gap: float) -> None:
    # With two classes, log(p / (1 - p)) is z_y minus the other; 1e-9 for the logs between.
    confidence = scaled_confidence(predictions_of(np.array([[shift + gap, shift]]), [0]))
    np.testing.assert_allclose(confidence, [gap], atol=1e-9, rtol=1e-9)


def test_the_likelihood_ratio_equals_its_formula() -> None:
    shadows = np.array([[1.0], [3.0], [7.0], [9.0]])
    inside = np.array([[False], [False], [True], [True]])
    # Means 2 and 8; one example, so the pooled variance of each side is its own, 2.
    ratio = likelihood_ratio(np.array([5.5]), shadows, inside)
    np.testing.assert_allclose(ratio, [(3.5**2 - 2.5**2) / 4])
    offline = likelihood_ratio(np.array([2.0]), shadows, inside, mode="offline")
    np.testing.assert_allclose(np.exp(offline), [0.5])


def test_many_shadow_models_give_each_example_its_own_variance() -> None:
    rng = np.random.default_rng(4)
    inside = np.repeat([[True], [False]], 64, axis=0).repeat(2, axis=1)
    shadows = rng.normal(size=(128, 2)) * [1.0, 10.0]
    z = likelihood_ratio(np.array([-3.0, -3.0]), shadows, inside, mode="offline")
    assert z[0] < z[1]


def test_the_attack_finds_members_of_gaussian_models() -> None:
    rng = np.random.default_rng(5)
    hardness = rng.normal(size=300) * 3
    inside = rng.random((32, 300)) < 0.5
    shadows = hardness + 2.0 * inside + rng.normal(size=(32, 300)) * 0.5
    member = np.arange(300) < 150
    observed = hardness + 2.0 * member + rng.normal(size=300) * 0.5
    for mode in ("online", "offline"):
        scores = likelihood_ratio(observed, shadows, inside, mode=mode)
        assert report(scores[member], scores[~member]).auc > 0.95


@pytest.mark.parametrize(
    ("members", "others", "auc", "positives"),
    [
        ([3.0, 4.0], [1.0, 2.0], 1.0, 100.0),
        ([1.0, 2.0], [1.0, 2.0], 0.5, 0.0),
        ([0.0], [1.0], 0.0, 0.0),
    ],
)
def test_the_report_counts_ties_half(
    members: list[float], others: list[float], auc: float, positives: float
) -> None:
    made = report(np.array(members), np.array(others))
    assert (made.auc, made.true_positives) == (auc, positives)


def test_too_few_shadow_models_are_refused() -> None:
    with pytest.raises(EvalError, match="1 shadow models without it"):
        likelihood_ratio(np.zeros(1), np.zeros((3, 1)), np.array([[True], [True], [False]]))
    with pytest.raises(EvalError, match="models, examples"):
        likelihood_ratio(np.zeros(2), np.zeros((3, 1)), np.ones((3, 1), bool))
    with pytest.raises(EvalError, match="at least one member"):
        report(np.zeros(0), np.zeros(1))
