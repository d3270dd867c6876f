"""Settings are checked field by field, and the sentence says the field, its value and the range."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan

import pytest

from erasure.errors import ConfigError
from erasure.setting_checks import (
    require_choice,
    require_counts,
    require_not_negative,
    require_positive,
    require_shares,
)

Check = Callable[..., None]


@dataclass(frozen=True)
class Settings:
    value: object


@pytest.mark.parametrize(
    ("check", "good", "bad", "wanted"),
    [
        (require_counts, (1, 7), (0, -1, nan), "1 or more"),
        (require_positive, (0.1, 3), (0, -0.1, nan, inf), "more than 0"),
        (require_not_negative, (0, 0.5), (-1, nan, inf), "0 or more"),
        (require_shares, (0, 0.5, 1.0), (-0.1, 1.1, nan, inf), "a share from 0 to 1"),
    ],
)
def test_a_number_is_taken_or_refused_by_its_range(
    check: Check, good: tuple[float, ...], bad: tuple[float, ...], wanted: str
) -> None:
    for value in (*good, good, None):
        check(Settings(value), "value")
    for value in bad:
        with pytest.raises(ConfigError, match=rf"^value is {value}; give {wanted}$"):
            check(Settings(value), "value")
        with pytest.raises(ConfigError, match=rf"^value is {value}; give {wanted}$"):
            check(Settings((good[0], value)), "value")
    with pytest.raises(ConfigError, match="value names no value; give at least one"):
        check(Settings(()), "value")


def test_a_choice_names_its_options() -> None:
    require_choice(Settings("b"), "value", "a", "b", "c")
    with pytest.raises(ConfigError, match=r"^value is 'd'; give 'a', 'b' or 'c'$"):
        require_choice(Settings("d"), "value", "a", "b", "c")
