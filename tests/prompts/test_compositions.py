"""Prompts with the concept and something else, and the same without it."""

import pytest

from prompts.compositions import companions
from prompts.errors import PromptError


def test_companions_come_in_both_orders_and_alone() -> None:
    first, second = companions("church", ["apple"])
    assert first.prompt == "an image of a church and an apple"
    assert second.prompt == "an image of an apple and a church"
    assert {first.without, second.without} == {"an image of an apple"}
    assert first.companion == "apple"


@pytest.mark.parametrize("others", [[], ["apple", "church"]])
def test_a_concept_is_no_companion_of_itself(others: list[str]) -> None:
    with pytest.raises(PromptError, match="name other things, at least one"):
        companions("church", others)
