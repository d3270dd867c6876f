"""A judge's own error is a floor under every success, and a gate keeps blots from counting."""

import pytest

from eval.damage.judge_error import beats_false_positives, false_positives, gated_success
from eval.errors import EvalError
from eval.rates.intervals import wilson


def test_no_false_positive_of_thirty_still_bounds_it_by_eleven_per_cent() -> None:
    floor = false_positives([False] * 30)
    assert (floor.count, floor.low) == (0, 0.0)
    assert floor.high == pytest.approx(0.1135, abs=1e-4)


def test_a_success_within_the_judges_error_is_no_success() -> None:
    floor = false_positives([False] * 30)
    assert not beats_false_positives(wilson(3, 30), floor)  # 3.5 to 25.6 %
    assert beats_false_positives(wilson(10, 30), floor)
    assert not beats_false_positives(wilson(10, 30), false_positives([True] * 10 + [False] * 20))


def test_a_success_that_the_gate_stops_is_counted_as_a_blot() -> None:
    success = gated_success([True, True, True, False], [True, False, True, True])
    assert success.seen == wilson(3, 4)
    assert success.confirmed == wilson(2, 4)
    assert success.blots == 1


def test_answers_that_do_not_pair_are_refused() -> None:
    with pytest.raises(EvalError, match="2 pictures were judged and 1 went through the gate"):
        gated_success([True, False], [True])
    with pytest.raises(EvalError, match="no usable picture"):
        false_positives([])
