"""Diversity, the quality gate, pairs with and without the concept, and distances in units."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from eval.damage.diversity import diversity_change, mean_pairwise_distance
from eval.damage.in_prompt import in_prompt_distances
from eval.damage.kernel_units import kernel_units, squared_kernel_distance
from eval.damage.quality_gate import fit_quality_gate
from eval.errors import EvalError


def rows(count: int, size: int = 4, seed: int = 0, spread: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(count, size, generator=generator, dtype=torch.float64)


@given(st.integers(2, 9), st.integers(0, 99))
def test_diversity_is_the_mean_over_all_pairs(count: int, seed: int) -> None:
    features = rows(count, seed=seed)
    pairs = itertools.combinations(features.tolist(), 2)
    wanted = [math.dist(a, b) for a, b in pairs]
    assert mean_pairwise_distance(features) == pytest.approx(sum(wanted) / len(wanted))


def test_pictures_that_differ_half_as_much_have_a_change_of_minus_one() -> None:
    before = [rows(5, seed=n) for n in range(6)]
    change = diversity_change(before, [0.5 * one + 3 for one in before])
    assert change.value == pytest.approx(-1.0)
    assert change.total == 6
    collapsed = diversity_change(before, [one[:1].expand(5, -1) for one in before])
    assert collapsed.value < -10


def test_diversity_needs_two_pictures_of_each_prompt_by_both() -> None:
    with pytest.raises(EvalError, match="two pictures or more"):
        mean_pairwise_distance(rows(1))
    with pytest.raises(EvalError, match="2 prompts before and 1 after do not pair"):
        diversity_change([rows(3), rows(3)], [rows(3)])
    with pytest.raises(EvalError, match="equal pictures from different seeds"):
        diversity_change([torch.zeros(3, 2)], [rows(3, 2)])


def test_the_gate_lets_the_asked_share_of_real_pictures_pass_and_no_far_one() -> None:
    real = rows(40)
    gate = fit_quality_gate(real, quantile=0.9)
    nearest = [
        min(math.dist(a, b) for m, b in enumerate(real.tolist()) if m != n)
        for n, a in enumerate(real.tolist())
    ]
    assert sum(d <= gate.threshold for d in nearest) == 36
    assert gate.passes(real) == [True] * 40  # each lies on itself
    assert gate.passes(torch.full((2, 4), 50.0)) == [False, False]
    distance = gate.distances(torch.zeros(1, 4))
    assert float(distance) == pytest.approx(min(math.hypot(*row) for row in real.tolist()))


def test_equal_real_pictures_let_themselves_pass() -> None:
    gate = fit_quality_gate(torch.ones(8, 3))
    assert gate.threshold == 0.0
    assert gate.passes(torch.ones(1, 3)) == [True]


@pytest.mark.parametrize(
    ("count", "quantile", "words"), [(7, 0.95, "too few for a gate"), (8, 0.0, "quantile is 0")]
)
def test_a_gate_of_few_pictures_or_no_share_is_refused(
    count: int, quantile: float, words: str
) -> None:
    with pytest.raises(EvalError, match=words):
        fit_quality_gate(rows(count), quantile=quantile)


def test_a_gate_refuses_features_of_another_extractor() -> None:
    with pytest.raises(EvalError, match="3 features and the real ones 4"):
        fit_quality_gate(rows(9)).passes(rows(2, 3))


def test_what_only_loses_the_concept_lands_on_the_prompt_without_it() -> None:
    without, concept = rows(12), torch.tensor([3.0, 4.0, 0.0, 0.0])
    distances = in_prompt_distances(without, without + concept, without)
    assert distances.audited.value == 0.0
    assert distances.base.value == pytest.approx(5.0)
    assert distances.change.value == pytest.approx(-5.0)
    ruined = in_prompt_distances(without + 2 * concept, without + concept, without)
    assert ruined.change.value == pytest.approx(5.0)
    with pytest.raises(EvalError, match="of the same prompts"):
        in_prompt_distances(without[:3], without, without)


@given(st.integers(4, 8), st.integers(4, 8), st.integers(0, 99))
def test_the_kernel_distance_is_the_sum_over_all_pairs(n: int, m: int, seed: int) -> None:
    x, y = rows(n, 3, seed), rows(m, 3, seed + 1)

    def kernel(a: Tensor, b: Tensor) -> float:
        return (sum(p * q for p, q in zip(a.tolist(), b.tolist(), strict=True)) / 3 + 1) ** 3

    xx = [kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    yy = [kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
    xy = [kernel(a, b) for a in x for b in y]
    wanted = sum(xx) / len(xx) + sum(yy) / len(yy) - 2 * sum(xy) / len(xy)
    assert squared_kernel_distance(x, y) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_a_model_like_the_base_is_within_its_spread_and_another_is_not() -> None:
    base, again = rows(120, seed=1), rows(120, seed=2)
    same = kernel_units(rows(120, seed=3), base, again)
    assert abs(same.units) < 5
    assert same.low < 0 < same.high
    other = kernel_units(rows(120, seed=3) + 1.0, base, again)
    assert other.units > 20
    assert other.low > 2


def test_few_or_broken_features_are_refused() -> None:
    with pytest.raises(EvalError, match="4 pictures or more"):
        squared_kernel_distance(rows(3), rows(9))
    with pytest.raises(EvalError, match="not finite"):
        squared_kernel_distance(torch.full((4, 4), float("nan")), rows(9))
