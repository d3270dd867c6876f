"""What is drawn instead: shares, entropy and how many labels moved."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.damage.replacement import drawn_instead, moved_share
from eval.errors import EvalError
from eval.judges.judge import NOTHING

LABELS = st.lists(st.sampled_from(["a", "b", "c", NOTHING]), min_size=1, max_size=40)


def test_one_label_in_its_place_has_no_entropy_and_four_have_two_bits() -> None:
    assert drawn_instead(["castle"] * 9).entropy == 0.0
    instead = drawn_instead(["a", "b", "c", "d"])
    assert instead.entropy == pytest.approx(2.0)
    assert instead.effective == pytest.approx(4.0)


def test_the_most_frequent_label_comes_first_and_rejections_stand_apart() -> None:
    instead = drawn_instead(["a", NOTHING, "b", NOTHING])
    assert list(instead.shares) == [NOTHING, "a", "b"]
    assert instead.rejected is not None
    assert (instead.rejected.count, instead.rejected.total) == (2, 4)
    assert drawn_instead(["a"]).rejected is None


@given(LABELS)
def test_entropy_is_that_of_the_counts(labels: list[str]) -> None:
    counts = Counter(labels).values()
    wanted = sum(c / len(labels) * math.log2(len(labels) / c) for c in counts)
    assert drawn_instead(labels).entropy == pytest.approx(wanted, abs=1e-12)


@given(LABELS, LABELS)
def test_the_moved_share_is_the_largest_difference_over_all_sets_of_labels(
    before: list[str], after: list[str]
) -> None:
    names = ["a", "b", "c", NOTHING]
    sets = [[n for k, n in enumerate(names) if bits >> k & 1] for bits in range(16)]
    wanted = max(
        sum(x in chosen for x in after) / len(after)
        - sum(x in chosen for x in before) / len(before)
        for chosen in sets
    )
    assert moved_share(before, after) == pytest.approx(wanted, abs=1e-12)


def test_without_pictures_nothing_is_said() -> None:
    with pytest.raises(EvalError, match="no picture of a prompt"):
        drawn_instead([])
    with pytest.raises(EvalError, match="0 labels before"):
        moved_share([], ["a"])
