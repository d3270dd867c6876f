"""The distances as numbers, each beside a small computation of its own."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eval.distances.curves import AttackCurve, area_between, area_units, half_ratio
from eval.distances.kernels import kernel_distance_units
from eval.distances.labels import label_units, shares
from eval.distances.likelihood import likelihood_units, symmetric_loss
from eval.distances.losses import loss_gap
from eval.distances.membership import area_under_curve, membership
from eval.distances.units import Units, units_of_errors, units_of_means
from eval.distances.weights import move
from eval.errors import EvalError


def _drawn(n: int, seed: int, mean: float = 0.0) -> Tensor:
    return mean + torch.randn(n, generator=torch.Generator().manual_seed(seed)).double()


def test_a_ratio_of_means_is_that_and_its_interval_holds_it() -> None:
    values, twins = _drawn(60, 1, 8.0), _drawn(60, 2, 4.0)
    units = units_of_means(values, twins, seed=0)
    assert units.value == pytest.approx(float(values.mean()))
    assert units.unit == pytest.approx(float(twins.mean()))
    assert units.units == pytest.approx(float(values.mean() / twins.mean()))
    assert units.low < units.units < units.high
    assert not units.floored


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    hits = 0
    for turn in range(200):
        values, twins = _drawn(40, 2 * turn, 8.0), _drawn(40, 2 * turn + 1, 4.0)
        units = units_of_means(values, twins, seed=turn)
        hits += units.low <= 2.0 <= units.high
    assert 180 <= hits <= 200  # 95 % of 200 is 190, its deviation 3


@pytest.mark.parametrize("count", [6, 16])
def test_intervals_over_few_pictures_cover_as_often_as_they_say(count: int) -> None:
    units, signed = 0, 0
    for turn in range(300):
        twins = (0.3 * _drawn(count, 3 * turn)).exp()
        units += _holds(2.0, units_of_means(2 * twins * _lifted(count, turn), twins, seed=turn))
        pair = torch.stack([_drawn(count, 3 * turn), _drawn(count, 3 * turn + 1)])
        losses = 2.0 + _drawn(count, 3 * turn + 2)
        signed += _holds(2.0, loss_gap(losses, torch.zeros(1, count), pair, seed=turn).units)
    assert min(units, signed) >= 0.9 * 300  # of bare percentiles 79 to 91 % held it


def _lifted(count: int, turn: int) -> Tensor:
    """Factors of mean 1."""
    return (0.4 * _drawn(count, 3 * turn + 1) - 0.08).exp()


def _holds(true: float, units: Units) -> bool:
    return units.low <= true <= units.high


def test_the_twin_itself_is_at_one_with_no_width() -> None:
    twins = _drawn(20, 3, 5.0)
    units = units_of_means(twins, twins, seed=0)
    assert (units.units, units.low, units.high) == (1.0, 1.0, 1.0)


def test_equal_seeds_give_no_unit_and_are_said() -> None:
    same = torch.zeros(5)
    assert units_of_means(same, same, seed=0).units == 1.0
    assert math.isinf(units_of_means(same + 1, same, seed=0).units)
    assert units_of_means(same + 1, same, seed=0).floored


def test_distances_that_do_not_pair_are_refused() -> None:
    with pytest.raises(EvalError, match="3 distances and 2"):
        units_of_means(torch.ones(3), torch.ones(2), seed=0)
    with pytest.raises(EvalError, match="finite one"):
        units_of_means(torch.tensor([1.0, math.nan]), torch.ones(2), seed=0)


def test_the_interval_of_two_estimates_agrees_with_a_simulation() -> None:
    units = units_of_errors(6.0, 0.3, 3.0, 0.15)
    draws = np.random.default_rng(0)
    ratios = draws.normal(6.0, 0.3, 200_000) / draws.normal(3.0, 0.15, 200_000)
    low, high = np.quantile(ratios, (0.025, 0.975))
    assert units.low == pytest.approx(low, abs=0.03)  # the next order is skewed
    assert units.high == pytest.approx(high, abs=0.03)
    assert units_of_errors(6.0, 0.3, -0.01, 0.15).unit == 0.15
    assert units_of_errors(6.0, 0.3, -0.01, 0.15).floored


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("bcde")), min_size=1))
def test_the_distance_of_labels_is_the_largest_gap_of_any_set_of_them(
    pairs: list[tuple[str, str]],
) -> None:
    a, b = zip(*pairs, strict=True)
    one, other = Counter(a), Counter(b)
    gaps = [(one[label] - other[label]) / len(pairs) for label in "abcde"]
    best = sum(gap for gap in gaps if gap > 0)  # over all sets of labels
    assert label_units(a, b, (a, a), seed=0).value == pytest.approx(best)


def test_labels_in_units_of_two_seeds() -> None:
    base = ["church"] * 40
    retrained = ["castle"] * 30 + ["tree"] * 10
    twin = ["castle"] * 26 + ["tree"] * 14
    units = label_units(base, retrained, (retrained, twin), seed=0)
    assert units.value == 1.0
    assert units.unit == pytest.approx(0.1)
    assert units.units == pytest.approx(10.0)
    assert units.low < 10 < units.high
    same = label_units(retrained, retrained, (retrained, retrained), seed=0)
    assert (same.value, same.unit) == (0.0, 1 / 40)  # one picture is the least that can be seen
    assert shares(retrained) == {"castle": 0.75, "tree": 0.25}
    with pytest.raises(EvalError, match="do not pair"):
        label_units(base, retrained, (retrained, twin[:-1]), seed=0)


def test_two_draws_of_one_distribution_are_not_told_apart_by_their_labels() -> None:
    names = np.array(list("abcdefgh"))
    inside = 0
    for turn in range(60):
        draws = np.random.default_rng(turn)
        one, two, three = (list(draws.choice(names, 120)) for _ in range(3))
        units = label_units(one, two, (two, three), seed=turn)
        inside += units.low <= 1 <= units.high
    assert inside >= 53  # 95 % of 60 is 57, its deviation 1.7


def test_a_loss_far_below_or_above_the_seeds_has_a_name() -> None:
    first, second = _drawn(40, 5, 10.0), _drawn(40, 6, 10.0)
    pair = torch.stack([first, second])
    spread = float(((first - second) ** 2).mean().sqrt() / math.sqrt(2))
    for shift, state in ((-4.0, "remembers"), (0.0, "like retrained"), (4.0, "averse")):
        gap = loss_gap((first + second) / 2 + shift, pair, pair, seed=0)
        assert gap.state == state
        assert gap.units.unit == pytest.approx(spread)
        assert gap.units.units == pytest.approx(shift / spread)
    assert loss_gap(first + 1.0 * spread, pair, pair, seed=0).state == "undecided"


def test_the_symmetric_loss_is_the_mean_of_both_directions() -> None:
    ones = torch.ones(3)
    value, error = symmetric_loss(ones, 2 * ones, 5 * ones, ones)
    assert (value, error) == ((1 + 4) / 2, 0.0)
    a, b, c, d = (_drawn(30, seed) for seed in (1, 2, 3, 4))
    value, error = symmetric_loss(a, b, c, d)
    assert value == pytest.approx(float((b - a).mean() + (c - d).mean()) / 2)
    assert error == pytest.approx(math.sqrt(float((b - a).var() + (c - d).var()) / 30) / 2)
    assert likelihood_units((value, error), (value, error)).units == pytest.approx(
        value / max(value, error)
    )


def test_equal_models_have_no_likelihood_gap() -> None:
    a, b = _drawn(9, 1), _drawn(9, 2)
    assert symmetric_loss(a, a, b, b)[0] == 0.0


def test_kernel_distances_are_those_of_a_slow_sum_without_the_pairs() -> None:
    rows = [torch.randn(20, 6, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    units = kernel_distance_units(rows[0] + 3, rows[1], (rows[1], rows[2]))
    x, y = (rows[0] + 3).double(), rows[1].double()

    def kernel(a: Tensor, b: Tensor) -> float:
        return float(a @ b / 6 + 1) ** 3

    total = sum(
        kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i])
        for i in range(20)
        for j in range(20)
        if i != j
    )
    assert units.value == pytest.approx(total / (20 * 19))
    assert units.low > 1
    with pytest.raises(EvalError, match="20 and 19 pictures do not pair"):
        kernel_distance_units(rows[0], rows[1][1:], (rows[1], rows[2]))


def test_models_that_draw_alike_from_one_seed_are_nothing_apart_and_not_less() -> None:
    values, errors = [], []
    for turn in range(60):
        draw = torch.Generator().manual_seed(turn)
        seeds, one, other = torch.randn(3, 40, 16, generator=draw)
        units = kernel_distance_units(seeds + one, seeds + other, (seeds + one, seeds + other))
        values.append(units.value)
        errors.append(units.unit)  # the standard error, where two seeds are not far apart
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    assert abs(mean) < 3 * deviation / math.sqrt(60)  # with the pairs: -8 deviations of one
    floored = np.median(errors)
    assert 0.7 < floored / deviation < 1.6


def test_the_area_between_two_curves_by_a_slow_sum() -> None:
    one = AttackCurve((1.0, 10.0, 100.0), (2, 4, 2), 10)
    other = AttackCurve((3.0, 100.0), (5, 1), 10)
    costs = np.exp(np.linspace(0, math.log(100), 200_001))[:-1]
    gaps = np.array([one.share_at(c) - other.share_at(c) for c in costs[::20]])
    size, lead = area_between(one, other)
    assert size == pytest.approx(np.abs(gaps).mean(), abs=1e-3)
    assert lead == pytest.approx(gaps.mean(), abs=1e-3)
    assert area_between(one, one) == (0.0, 0.0)
    assert area_between(other, one) == (size, -lead)


def test_relearning_twice_as_fast_is_log_two() -> None:
    fast = AttackCurve((5.0, 10.0), (4, 4), 10)
    slow = AttackCurve((5.0, 20.0), (4, 4), 10)
    never = AttackCurve((40.0,), (3,), 10)
    assert half_ratio(fast, slow) == pytest.approx(math.log(2))
    assert half_ratio(fast, never) == math.inf
    assert half_ratio(never, fast) == -math.inf
    assert half_ratio(never, never) is None


def test_an_area_in_units_of_two_seeds() -> None:
    gone = AttackCurve((1.0, 10.0, 100.0), (0, 3, 12), 30)
    twin = AttackCurve((1.0, 10.0, 100.0), (0, 6, 12), 30)
    back = AttackCurve((1.0, 10.0, 100.0), (20, 8, 2), 30)
    units = area_units(back, gone, (gone, twin), seed=0)
    assert units.value == pytest.approx(area_between(back, gone)[0])
    assert units.low > 1
    assert area_units(twin, gone, (gone, twin), seed=0).units == pytest.approx(1.0)


def test_curves_of_one_attack_are_not_told_apart_by_their_areas() -> None:
    def drawn(draw: np.random.Generator) -> AttackCurve:
        arrivals = draw.multinomial(30, (0.2, 0.2, 0.2, 0.4))[:3]
        return AttackCurve((1.0, 10.0, 100.0), tuple(arrivals.tolist()), 30)

    inside = 0
    for turn in range(60):
        draw = np.random.default_rng(turn)
        one, two, three = (drawn(draw) for _ in range(3))
        units = area_units(one, two, (two, three), seed=turn)
        inside += units.low <= 1 <= units.high
    assert inside >= 53  # 95 % of 60 is 57, its deviation 1.7


@pytest.mark.parametrize(
    ("costs", "arrivals", "total"),
    [
        ((), (), 1),
        ((2.0, 1.0), (0, 0), 1),
        ((0.0,), (0,), 1),
        ((1.0,), (2,), 1),
        ((1.0,), (-1,), 2),
    ],
)
def test_what_is_no_curve_is_refused(
    costs: tuple[float, ...], arrivals: tuple[int, ...], total: int
) -> None:
    with pytest.raises(EvalError):
        AttackCurve(costs, arrivals, total)


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
)
def test_the_area_under_the_curve_counts_pairs(trained: list[int], held_out: list[int]) -> None:
    wins = sum((t > h) + (t == h) / 2 for t in trained for h in held_out)
    area = area_under_curve(torch.tensor(trained), torch.tensor(held_out))
    assert float(area) == pytest.approx(wins / len(trained) / len(held_out))


def test_membership_is_measured_from_a_half() -> None:
    known = membership(_drawn(50, 1, 2.0), _drawn(50, 2), seed=0)
    twin = membership(_drawn(50, 3), _drawn(50, 4), seed=0)
    assert known.low > 0.8
    assert twin.low < 0.5 < twin.high
    assert known.units(0.1) == pytest.approx((known.auc - 0.5) / 0.1)


def test_the_chance_in_an_area_is_its_spread_where_nothing_is_known() -> None:
    draws = torch.randn(4000, 30, generator=torch.Generator().manual_seed(1))
    spread = float(area_under_curve(draws[:, :20], draws[:, 20:]).std())
    assert membership(draws[0, :20], draws[0, 20:], seed=0).chance == pytest.approx(
        spread, rel=0.05
    )
    perfect = membership(torch.ones(5), torch.zeros(5), seed=0)
    assert (perfect.auc, perfect.low, perfect.high) == (1.0, 1.0, 1.0)
    assert perfect.chance > 0


def test_the_move_is_relative_and_counted() -> None:
    before = {"a": torch.tensor([3.0, 4.0]), "b": torch.zeros(2)}
    after = {"a": torch.tensor([3.0, 4.0]), "b": torch.tensor([0.0, 2.5])}
    made = move(before, after)
    assert made.relative == pytest.approx(2.5 / 5)
    assert made.moved == 1 / 4
    with pytest.raises(EvalError, match="other names"):
        move(before, {"a": before["a"]})
