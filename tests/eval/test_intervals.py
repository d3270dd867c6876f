"""Intervals of shares, differences and means: closed forms, coverage, determinism."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.errors import EvalError
from eval.rates.intervals import (
    mean_interval,
    paired_difference,
    paired_shares,
    unpaired_interval,
    widening,
    wilson,
)


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
    interval = wilson(count, total)
    assert interval.low == pytest.approx(low, abs=5e-5)  # four decimals are printed
    assert interval.high == pytest.approx(high, abs=5e-5)
    assert interval.share == count / total


@given(total=st.integers(1, 5000), data=st.data())
def test_wilson_solves_its_equation_and_mirrors(total: int, data: st.DataObject) -> None:
    # Ends of the interval are where |share - p| = z sqrt(p (1 - p) / n).
    count = data.draw(st.integers(0, total))
    interval = wilson(count, total)
    for p in (interval.low, interval.high):
        assert abs(interval.share - p) == pytest.approx(
            1.959963984540054 * math.sqrt(p * (1 - p) / total), abs=1e-9
        )
    other = wilson(total - count, total)
    assert (interval.low, interval.high) == pytest.approx(
        (1 - other.high, 1 - other.low), abs=1e-12
    )
    assert 0 <= interval.low <= interval.share <= interval.high <= 1


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


def pairs_of(both: int, gained: int, lost: int, neither: int) -> tuple[list[bool], list[bool]]:
    """Answers before and after, by how many pairs have which."""
    counts = {(True, True): both, (False, True): gained, (True, False): lost}
    rows = [
        pair for pair, count in {**counts, (False, False): neither}.items() for _ in range(count)
    ]
    before, after = zip(*rows, strict=True)
    return list(before), list(after)


def test_the_paired_interval_equals_the_published_example() -> None:
    # Newcombe, Stat. Med. 17 (1998) 2635, table II, method 10: 36, 12, 2 and 0 pairs.
    difference = paired_shares(*pairs_of(36, 12, 2, 0))
    assert difference.value == pytest.approx(0.2)
    assert (difference.low, difference.high) == pytest.approx(
        (0.0569, 0.3404), abs=5e-5
    )  # As printed.
    assert difference.pairs == 50


def test_the_paired_interval_equals_its_formula_where_phi_is_not_corrected() -> None:
    # 8, 7, 3 and 2 pairs: 8 * 2 < 7 * 3, so phi = -5 / sqrt(15 * 5 * 11 * 9).
    difference = paired_shares(*pairs_of(8, 7, 3, 2))
    new, old = wilson(15, 20), wilson(11, 20)
    phi = -5 / math.sqrt(15 * 5 * 11 * 9)
    down, up = new.share - new.low, old.high - old.share
    assert difference.low == pytest.approx(0.2 - math.sqrt(down**2 - 2 * phi * down * up + up**2))
    down, up = new.high - new.share, old.share - old.low
    assert difference.high == pytest.approx(0.2 + math.sqrt(down**2 - 2 * phi * down * up + up**2))


@given(counts=st.tuples(*[st.integers(0, 40)] * 4).filter(any))
def test_the_paired_interval_mirrors_and_always_has_a_width(
    counts: tuple[int, int, int, int],
) -> None:
    both, gained, lost, neither = counts
    difference = paired_shares(*pairs_of(*counts))
    assert -1 <= difference.low <= difference.value <= difference.high <= 1
    assert difference.low < difference.high
    turned = paired_shares(*pairs_of(both, lost, gained, neither))
    assert (turned.low, turned.high) == pytest.approx(
        (-difference.high, -difference.low), abs=1e-12
    )
    flipped = paired_shares(*pairs_of(neither, lost, gained, both))
    assert (flipped.low, flipped.high) == pytest.approx(
        (-difference.high, -difference.low), abs=1e-12
    )


@pytest.mark.parametrize(
    ("after", "before", "low", "high"),
    [
        # Newcombe, Stat. Med. 17 (1998) 873, table II, method 10, as printed there.
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_the_unpaired_interval_equals_the_published_examples(
    after: tuple[int, int], before: tuple[int, int], low: float, high: float
) -> None:
    interval = unpaired_interval(wilson(*before), wilson(*after))
    assert interval == pytest.approx((low, high), abs=5e-5)
    turned = unpaired_interval(wilson(*after), wilson(*before))
    assert turned == pytest.approx((-high, -low), abs=5e-5)


def test_where_no_pair_changed_the_interval_is_as_wide_as_that_of_the_share() -> None:
    difference = paired_shares([True] * 690, [True] * 690)
    # 1 - low of Wilson, z^2 / (n + z^2), on both sides.
    assert (difference.low, difference.high) == pytest.approx((-0.005537, 0.005537), abs=1e-6)
    few = paired_shares([True] * 30, [False] * 30)
    assert (few.value, few.low) == (-1.0, -1.0)
    assert -0.85 < few.high < -0.8


@pytest.mark.parametrize(
    ("pairs", "both", "lost", "gained"),
    [
        (690, 0.9965, 0.003, 0.0005),  # A bootstrap covers 0.81 here.
        (690, 0.95, 0.003, 0.0005),
        (690, 0.9972, 0.0014, 0.0014),
        (60, 0.95, 0.04, 0.0),
        (30, 0.03, 0.97, 0.0),
        (30, 0.05, 0.90, 0.0),
        (120, 0.6, 0.3, 0.05),
        (20, 0.4, 0.2, 0.1),
    ],
)
def test_paired_intervals_cover_the_truth_as_often_as_they_say(
    pairs: int, both: float, lost: float, gained: float
) -> None:
    # 95 % nominal; 1,000 trials leave +- 1.4 points, and it is known to miss by 1 or 2 at worst.
    random = np.random.default_rng(3)
    neither = max(0.0, 1 - both - lost - gained)
    trials = random.multinomial(pairs, [both, gained, lost, neither], size=1000)
    kinds, times = np.unique(trials, axis=0, return_counts=True)
    covered = 0
    for counts, count in zip(kinds.tolist(), times.tolist(), strict=True):
        interval = paired_shares(*pairs_of(*counts))
        covered += count * (interval.low <= gained - lost <= interval.high)
    assert covered / 1000 >= 0.92


def test_equal_values_give_no_interval_of_their_mean() -> None:
    values = np.random.default_rng(0).random(37).tolist()
    difference = paired_difference(values, values)
    assert (difference.value, difference.low, difference.high, difference.total) == (
        0.0,
        None,
        None,
        37,
    )
    assert mean_interval([3.0]).low is None


def test_pairing_takes_out_what_both_share() -> None:
    # The pictures differ much, the pairs by 0.1 +- 0.01: 0.1 must stand clear of 0.
    random = np.random.default_rng(1)
    before = random.normal(0, 10, 60)
    after = before + random.normal(0.1, 0.01, 60)
    difference = paired_difference(before.tolist(), after.tolist())
    assert 0.09 < difference.low < difference.value < difference.high < 0.11
    assert difference.value == pytest.approx(float((after - before).mean()), abs=1e-12)


def test_the_interval_is_about_two_standard_errors_wide() -> None:
    change = np.random.default_rng(2).normal(0, 1, 400)
    difference = paired_difference(np.zeros(400).tolist(), change.tolist())
    error = float(change.std() / 20)
    # 10,000 draws leave about 2 % of noise in a quantile.
    assert (difference.low, difference.high) == pytest.approx(
        (difference.value - 1.96 * error, difference.value + 1.96 * error), abs=0.05 * error
    )


@pytest.mark.parametrize("count", [6, 12, 50])
def test_intervals_of_a_mean_cover_the_truth_about_as_often_as_they_say(count: int) -> None:
    # 95 % nominal, 400 trials leave +- 2.2 points. Without the widening 6 values reach 0.86.
    random = np.random.default_rng(3)
    covered = 0
    for trial in range(400):
        values = random.normal(7, 2, count)
        interval = mean_interval(values.tolist(), seed=trial, draws=400)
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= 7 <= interval.high
    assert 0.91 <= covered / 400 <= 0.98


def test_thewidening_is_that_of_students_t() -> None:
    stats = pytest.importorskip("scipy.stats")
    for count in (6, 12, 100):
        wanted = math.sqrt(count / (count - 1)) * stats.t.ppf(0.975, count - 1) / 1.959963984540054
        assert widening(count) == pytest.approx(wanted, rel=2e-4)


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
    difference = paired_difference(before, after, draws=3)
    assert 0.49 < difference.low <= difference.high < 0.51


def test_more_pictures_narrow_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(6).normal(30, 3, 900)
    widths = []
    for n in (9, 90, 900):
        interval = mean_interval(values[:n].tolist())
        assert interval.low < interval.value < interval.high
        assert interval.total == n
        widths.append(interval.high - interval.low)
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
