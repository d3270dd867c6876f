"""Intervals of shares, differences and means: closed forms, coverage, determinism."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.errors import EvalError
from eval.intervals import mean_interval, paired_difference, wilson


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        # Newcombe, Stat. Med. 17 (1998) 857, table I, method 3 (score), as printed there.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # 0 of n by hand: high = z^2 / (n + z^2) = 3.8415 / 53.8415.
        (0, 50, 0.0, 3.841458821 / 53.841458821),
    ],
)
def test_wilson_equals_the_published_table(count: int, total: int, low: float, high: float) -> None:
    found = wilson(count, total)
    assert found.low == pytest.approx(low, abs=5e-5)  # four decimals are printed
    assert found.high == pytest.approx(high, abs=5e-5)
    assert found.share == count / total


@given(total=st.integers(1, 5000), data=st.data())
def test_wilson_solves_its_equation_and_mirrors(total: int, data: st.DataObject) -> None:
    # Ends of the interval are where |share - p| = z sqrt(p (1 - p) / n).
    count = data.draw(st.integers(0, total))
    found = wilson(count, total)
    for p in (found.low, found.high):
        assert abs(found.share - p) == pytest.approx(
            1.959963984540054 * math.sqrt(p * (1 - p) / total), abs=1e-9
        )
    other = wilson(total - count, total)
    assert (found.low, found.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-12)
    assert 0 <= found.low <= found.share <= found.high <= 1


def test_wilson_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for count, total in [(0, 1), (1, 1), (3, 10), (117, 500), (500, 500)]:
        theirs = stats.binomtest(count, total).proportion_ci(0.95, method="wilson")
        ours = wilson(count, total)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("count", "total"), [(0, 0), (-1, 5), (6, 5)])
def test_a_share_of_nothing_is_refused(count: int, total: int) -> None:
    with pytest.raises(EvalError, match=r"no usable picture|is no share"):
        wilson(count, total)


def test_identical_pairs_differ_by_exactly_nothing() -> None:
    values = np.random.default_rng(0).random(37).tolist()
    found = paired_difference(values, values)
    assert (found.value, found.low, found.high, found.pairs) == (0.0, 0.0, 0.0, 37)


def test_pairing_takes_out_what_both_share() -> None:
    # The pictures differ much, the pairs by 0.1 +- 0.01: 0.1 must stand clear of 0.
    random = np.random.default_rng(1)
    before = random.normal(0, 10, 60)
    after = before + random.normal(0.1, 0.01, 60)
    found = paired_difference(before.tolist(), after.tolist())
    assert 0.09 < found.low < found.value < found.high < 0.11
    assert found.value == pytest.approx(float((after - before).mean()), abs=1e-12)


def test_the_interval_is_about_two_standard_errors_wide() -> None:
    change = np.random.default_rng(2).normal(0, 1, 400)
    found = paired_difference(np.zeros(400).tolist(), change.tolist())
    error = float(change.std() / 20)
    # 10,000 draws leave about 2 % of noise in a quantile.
    assert (found.low, found.high) == pytest.approx(
        (found.value - 1.96 * error, found.value + 1.96 * error), abs=0.05 * error
    )


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    # Recognised before with 0.9, after with 0.7 if before: the truth is -0.27. 95 % nominal; 200
    # trials leave +- 3 points, and percentile intervals of 50 pairs fall a little short.
    random = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        before = random.random(50) < 0.9
        after = before & (random.random(50) < 0.7)
        found = paired_difference(before.tolist(), after.tolist(), seed=trial, draws=400)
        covered += found.low <= -0.27 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval_and_another_nearly() -> None:
    random = np.random.default_rng(4)
    before, after = random.random(30).tolist(), random.random(30).tolist()
    one, same, other = (paired_difference(before, after, seed=s) for s in (5, 5, 6))
    assert one == same
    assert one != other
    assert one.value == other.value
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.02)


def test_many_pairs_are_drawn_in_chunks() -> None:
    # 3 draws of 400,000 do not fit into one chunk of a million numbers.
    before, after = [0.0] * 400_000, [0.0, 1.0] * 200_000
    found = paired_difference(before, after, draws=3)
    assert 0.49 < found.low <= found.high < 0.51


def test_more_pictures_narrow_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(6).normal(30, 3, 900)
    widths = []
    for n in (9, 90, 900):
        found = mean_interval(values[:n].tolist())
        assert found.low < found.value < found.high
        assert found.total == n
        widths.append(found.high - found.low)
    assert all(wide > 2 * narrow for wide, narrow in pairwise(widths))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([1.0], [1.0, 0.0], "1 values before and 2 after do not pair"),
        ([], [], "there is no value"),
        ([float("nan")], [1.0], "NaN or infinite"),
    ],
)
def test_what_does_not_pair_is_refused(before: list[float], after: list[float], said: str) -> None:
    with pytest.raises(EvalError, match=said):
        paired_difference(before, after)


def test_draws_below_one_are_refused() -> None:
    with pytest.raises(EvalError, match="draws is 0"):
        mean_interval([1.0, 2.0], draws=0)
