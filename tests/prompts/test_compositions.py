"""Prompts with the concept and something else, and the same without it."""

import pytest

from prompts.compositions import COLOURS, COUNTS, POSITIONS, attributes, companions
from prompts.errors import PromptError


def test_companions_come_in_both_orders_and_alone() -> None:
    first, second = companions("church", ["apple"])
    assert first.prompt == "an image of a church and an apple"
    assert second.prompt == "an image of an apple and a church"
    assert {first.without, second.without} == {"an image of an apple"}
    assert first.companion == "apple"


def test_attributes_name_colours_numbers_and_places_in_words() -> None:
    compositions = attributes("church", "pony")
    assert len(compositions) == len(COLOURS) + len(COUNTS) + len(POSITIONS)
    prompts = {one.prompt: one.without for one in compositions}
    assert prompts["an image of a red church"] == "an image of a red pony"
    assert prompts["an image of one church"] == "an image of one pony"
    assert prompts["an image of three churches"] == "an image of three ponies"
    assert prompts["an image of a church on the left"] == "an image of a pony on the left"
    assert all(one.companion in one.prompt and one.companion in one.without for one in compositions)


@pytest.mark.parametrize("others", [[], ["apple", "church"]])
def test_a_concept_is_no_companion_of_itself(others: list[str]) -> None:
    with pytest.raises(PromptError, match="name other things, at least one"):
        companions("church", others)
