"""A part of a suite shows what was erased and what was not."""

from collections import Counter
from dataclasses import replace

import pytest

from pipelines.evaluation.limiting import limited
from prompts.canvas import canvas_set
from prompts.errors import PromptError
from prompts.suites.case import LazyCases, PromptCase, PromptSet


def test_half_of_a_limited_suite_is_of_what_was_erased() -> None:
    cases = list(limited(canvas_set(), ["church"], 40).cases)
    churches = [case for case in cases if case.labels["object"] == "church"]
    assert (len(cases), len(churches)) == (40, 20)
    assert {case.labels["style"] for case in churches} == {
        *("sketch", "flat", "glossy", "cartoon", "sticker", "blueprint")
    }
    assert len({case.labels["object"] for case in cases}) > 12
    assert cases == [case for case in canvas_set().cases if case in cases]  # in the suite's order


def test_the_rest_is_spread_over_objects_although_these_come_in_a_cycle() -> None:
    cases = limited(canvas_set(), ["church"], 60).cases  # equal steps of 23 meet one object alone
    seen = Counter(case.labels["object"] for case in cases)
    assert seen.pop("church") == 30
    assert len(seen) >= 20
    assert max(seen.values()) <= 2


def test_where_objects_and_a_style_were_erased_each_is_drawn_as_often() -> None:
    erased = ("church", "dog", "truck", "sketch")
    cases = list(limited(canvas_set(), erased, 28).cases)
    shown = [tuple(sorted(set(erased) & set(case.labels.values()))) for case in cases]
    counts = Counter(shown)
    assert counts.pop(()) == 14
    # Three objects in other styles, a style with other objects, and the three pairs.
    alone = {(name,): 2 for name in erased}
    pairs = {("church", "sketch"): 2, ("dog", "sketch"): 2, ("sketch", "truck"): 2}
    assert counts == alone | pairs


@pytest.mark.parametrize(("limit", "least"), [(5, 1), (20, 2), (60, 6)])
def test_where_several_objects_were_erased_each_is_drawn_as_often(limit: int, least: int) -> None:
    erased = ("church", "dog", "truck", "cat", "horse")
    cases = [c for c in limited(canvas_set(), erased, limit).cases if c.labels["object"] in erased]
    assert Counter(c.labels["object"] for c in cases) == dict.fromkeys(erased, least)
    styles = [{c.labels["style"] for c in cases if c.labels["object"] == name} for name in erased]
    assert all(len(own) == least for own in styles)  # of each object other styles


def test_a_limit_that_leaves_out_what_was_erased_is_refused() -> None:
    with pytest.raises(PromptError, match=r"^--limit 2 draws none of .*; give --limit 3 or more$"):
        limited(canvas_set(), ("knife", "bomb", "pistol"), 2)


@pytest.mark.parametrize(
    ("limit", "churches", "others"), [(1, 1, 0), (2, 1, 1), (100, 30, 70), (9999, 30, 690)]
)
def test_where_one_kind_has_too_few_the_other_fills_up(
    limit: int, churches: int, others: int
) -> None:
    cases = list(limited(canvas_set(), ["church"], limit).cases)
    assert sum(case.labels["object"] == "church" for case in cases) == churches
    assert len(cases) == churches + others


def test_without_labels_or_an_erased_one_the_first_are_taken_and_no_more_is_read() -> None:
    def broken() -> list[PromptCase]:
        yield from (PromptCase(case=str(n), prompt="x", seed=n) for n in range(3))
        raise AssertionError("the row after the limit was read")

    suite = PromptSet(name="csv", source="x", cases=LazyCases(broken), heads=())
    assert [c.case for c in limited(suite, ["church"], 3).cases] == ["0", "1", "2"]
    suite = replace(suite, heads=("object",))
    assert [c.case for c in limited(suite, [], 3).cases] == ["0", "1", "2"]
    assert len(list(limited(canvas_set(), ["unicorn"], 5).cases)) == 5
