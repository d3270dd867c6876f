"""One lookup and one hint serve both tables of methods."""

from typing import Any

import pytest

from erasure import classifiers, methods
from erasure.errors import ConfigError
from erasure.known_names import hint, looked_up

TABLES: list[Any] = [methods, classifiers]


@pytest.mark.parametrize("half", TABLES, ids=["diffusion", "classifiers"])
def test_both_halves_say_the_same_of_an_unknown_name(half: Any) -> None:  # noqa: ANN401
    with pytest.raises(ConfigError) as unknown:
        half.make_method("salum")
    assert str(unknown.value) == (
        "method 'salum' is unknown; did you mean 'salun'? known are " + ", ".join(half.METHODS)
    )
    with pytest.raises(ConfigError, match="salun has no setting 'zzz'; known are "):
        half.make_method("salun", zzz=1)


def test_a_name_that_is_like_no_other_gets_the_list_alone() -> None:
    assert hint("zzz", ["full", "xattn"]) == "known are full, xattn"
    assert hint("zzz", []) == "known are none"


def test_an_entry_is_found_by_its_name_alone() -> None:
    assert looked_up("scope", "full", {"full": 1, "xattn": 2}) == 1
