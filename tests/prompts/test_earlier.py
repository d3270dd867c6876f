"""What was forgotten before is neither retained nor stands in where an origin still draws it."""

from dataclasses import replace

import pytest

from prompts.canvas import OBJECTS
from prompts.concepts.concepts import plan_concept
from prompts.concepts.earlier import without_earlier
from prompts.concepts.phrases import mentions
from prompts.concepts.plan import ConceptPlan
from prompts.concepts.together import together
from prompts.errors import PromptError


def canvas(*names: str) -> ConceptPlan:
    return together([plan_concept(name, family="canvas") for name in names])


def after(plan: ConceptPlan, *earlier: ConceptPlan, listed: bool = False) -> ConceptPlan:
    return without_earlier(replace(plan, earlier=earlier), listed=listed)


@pytest.mark.parametrize("now", [("dog",), ("dog", "flat")])
def test_nothing_retained_and_no_stand_in_shows_what_was_forgotten(now: tuple[str, ...]) -> None:
    plan = canvas(*now)
    assert any(mentions(prompt, "church") for prompt in plan.retain)
    made = after(plan, canvas("church"), canvas("sketch"))
    assert (made.concept, made.forget, made.erased) == (plan.concept, plan.forget, plan.erased)
    assert made.retain
    assert set(made.retain) < set(plan.retain)
    shown = {*canvas("church").forget, *canvas("sketch").forget}
    assert not shown & set(made.retain)
    assert made.replacement.keys() == plan.replacement.keys()
    for part in (made, *made.parts):
        assert not any(shown & set(stand_ins) for stand_ins in part.replacement.values())
    assert len(made.parts) == len(plan.parts)


def test_a_style_that_was_forgotten_takes_prompts_that_leave_it_open_with_it() -> None:
    made = after(canvas("dog"), canvas("sketch"))
    assert "an image of a cat" in canvas("dog").retain
    assert "an image of a cat" not in made.retain
    assert "an image of a cat in flat style" in made.retain


def test_a_stand_in_that_was_forgotten_gives_way_to_its_own() -> None:
    (stand_in,) = canvas("dog").replacement["an image of a dog"]
    gone = next(name for name in OBJECTS if mentions(stand_in, name))
    made = after(canvas("dog"), canvas(gone))
    assert made.replacement["an image of a dog"] == canvas(gone).replacement[stand_in]


def test_in_general_what_names_it_is_left_out_and_nothing_is_added() -> None:
    plan = plan_concept("teapot", family="general")
    earlier = [plan_concept(name, family="general") for name in ("bicycle", "nudity")]
    made = after(plan, *earlier)
    assert made.retain == tuple(p for p in plan.retain if not mentions(p, "bicycle"))
    assert len(made.retain) < len(plan.retain)


def test_a_list_of_the_user_is_taken_whole_or_refused() -> None:
    plan = plan_concept("dog", family="canvas", retain=["two cats", "a house by the sea"])
    assert after(plan, canvas("church"), listed=True).retain == plan.retain
    named = plan_concept("dog", family="canvas", retain=["two churches"])
    with pytest.raises(PromptError, match=r"'two churches' .* names 'church', which was erased"):
        after(named, canvas("church"), listed=True)


def test_without_anything_earlier_a_plan_stays_as_it_is() -> None:
    plan = canvas("dog")
    assert without_earlier(plan) is plan


def test_a_class_s_name_is_not_found_in_another_s() -> None:
    classes = ("shirt", "T-shirt", "bag")
    first, second = (plan_concept(n, family="general", labels=classes) for n in ("bag", "shirt"))
    made = after(first, second)
    assert made.retain == ("T-shirt",)
    assert made.replacement == {"bag": ("T-shirt",)}
    assert second.shown_in("shirt") == "shirt"
    assert second.shown_in("T-shirt") is None
