"""The plan of a class: its label is replaced, all others are kept."""

import pytest

from prompts.concepts.concepts import plan_concept
from prompts.concepts.plan import ConceptPlan
from prompts.concepts.together import together
from prompts.errors import PromptError

LABELS = ("T-shirt", "shirt", "boot", "sneaker")


def plan(concept: str, instead: str | None = None, **more: list[str]) -> ConceptPlan:
    return plan_concept(concept, family="general", labels=LABELS, instead=instead, **more)  # type: ignore[arg-type]


def test_the_next_class_stands_in_and_all_others_are_retained() -> None:
    made = plan("shirt")
    assert made.kind == "label"
    assert made.forget == ("shirt",)
    assert made.replacement == {"shirt": ("boot",)}
    assert made.retain == ("T-shirt", "boot", "sneaker")  # though T-shirt names shirt
    assert made.erased == ("shirt",)
    assert plan("sneaker").replacement == {"sneaker": ("T-shirt",)}  # first after last


def test_any_other_a_named_one_or_no_class_may_stand_in() -> None:
    assert plan("boot", "any").replacement == {"boot": ("T-shirt", "shirt", "sneaker")}
    assert plan("boot", "shirt").replacement == {"boot": ("shirt",)}
    assert plan("boot", "").replacement == {"boot": ("",)}


def test_what_is_retained_may_be_chosen() -> None:
    assert plan("boot", retain=["shirt"]).retain == ("shirt",)
    assert plan("boot", retain=[]).retain == ()
    assert plan("boot", retain=[""]).retain == ("",)


def test_several_classes_are_forgotten_together() -> None:
    made = together([plan("shirt"), plan("boot")])
    assert made.kind == "label"
    assert made.replacement == {"shirt": ("sneaker",), "boot": ("sneaker",)}
    assert made.retain == ("T-shirt", "sneaker")


@pytest.mark.parametrize(
    ("concept", "instead", "message"),
    [
        ("hat", None, "the concept 'hat' is no class of this model"),
        ("boot", "hat", "instead 'hat' is no class"),
        ("boot", "boot", "'boot' is to be forgotten, so it cannot stand in"),
    ],
)
def test_what_is_no_class_is_refused(concept: str, instead: str | None, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        plan(concept, instead)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"prompts": ["hat"]}, "a prompt to forget 'hat' is no class"),
        ({"retain": ["shirt", "hat"]}, "a prompt to retain 'hat' is no class"),
    ],
)
def test_lists_name_classes_alone(more: dict[str, list[str]], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        plan("boot", **more)


@pytest.mark.parametrize("family", ["general", "canvas"])
def test_a_number_is_no_concept_of_a_model_that_reads_text(family: str) -> None:
    with pytest.raises(PromptError, match="'7' is a number, and this model reads text"):
        plan_concept("7", family=family)  # type: ignore[arg-type]
