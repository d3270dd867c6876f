"""Times and cells of tables are written the same everywhere."""

import pytest

from pipelines.words.durations import about, about_here, to_the_second
from pipelines.words.markdown import cell, head, row


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.01, "1 s"),
        (40.4, "40 s"),
        (89, "89 s"),
        (90, "2 min"),
        (12 * 60, "12 min"),
        (2 * 3600 - 1, "120 min"),
        (3.5 * 3600, "3.5 h"),
        (47 * 3600, "47.0 h"),
        (12 * 86400, "12 days"),
    ],
)
def test_an_estimate_is_written_no_finer_than_it_is(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_an_estimate_says_what_other_work_makes_of_it() -> None:
    assert about_here(240, 0.9) == "about 4 min"
    assert about_here(240, 0.1) == "about 4 min, or 40 min while this machine is as busy as now"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.84, "0.8 s"),
        (42.4, "42 s"),
        (59.7, "1 min 0 s"),
        (725, "12 min 5 s"),
        (12_010, "3 h 20 min"),
    ],
)
def test_a_measured_time_is_written_to_the_second(seconds: float, text: str) -> None:
    assert to_the_second(seconds) == text


def test_no_text_leaves_its_cell() -> None:
    assert cell("a|b\n# <b>c") == "a/b # &lt;b>c"
    assert row(["x", "y | z"]) == "| x | y / z |"
    assert head(["one", "two"]) == ["| one | two |", "| --- | --- |"]
