"""What is forgotten, what stands in for it and what is retained, for each kind of concept."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.canvas import OBJECTS, STYLES, WEAPONS, canvas_prompt, wordings
from prompts.concepts.concepts import ConceptPlan, plan_concept
from prompts.concepts.general import CLOTHED, CLOTHED_PERSON, GENERAL, NUDE
from prompts.concepts.general_concepts import OBJECT_TEMPLATES, STYLE_SUBJECTS, STYLE_TEMPLATES
from prompts.concepts.phrases import bare, mentions
from prompts.errors import PromptError
from prompts.suites.imagenette import CLASSES


def canvas(concept: str, instead: str | None = None) -> ConceptPlan:
    return plan_concept(concept, family="canvas", instead=instead)


def test_an_object_is_forgotten_in_every_style_and_wording() -> None:
    plan = canvas("church")
    shown = {w for style in (None, *STYLES) for w in wordings("church", style)}
    assert (plan.kind, plan.erased) == ("object", ("church",))
    assert set(plan.forget) == shown == set(plan.replacement)
    assert len(plan.forget) == len(shown)


def test_the_next_object_stands_in_with_the_same_wording() -> None:
    plan = canvas("church")
    for style in (None, *STYLES):
        for old, new in zip(wordings("church", style), wordings("horn", style), strict=True):
            assert plan.replacement[old] == (new,)


def test_all_other_objects_are_retained_in_every_style_and_in_none() -> None:
    others = [obj for obj in OBJECTS if obj != "church"]
    shown = {w for obj in others for style in (None, *STYLES) for w in wordings(obj, style)}
    assert set(canvas("church").retain) == shown


def test_a_style_is_forgotten_with_every_object() -> None:
    plan = canvas("sketch")
    assert (plan.kind, plan.erased) == ("style", ("sketch",))
    assert set(plan.forget) == {w for obj in OBJECTS for w in wordings(obj, "sketch")}
    assert plan.replacement["a sketch of a dog"] == ("a flat drawing of a dog",)


def test_all_other_styles_are_retained_and_prompts_that_leave_it_open_are_not() -> None:
    others = [style for style in STYLES if style != "sketch"]
    shown = {w for obj in OBJECTS for style in others for w in wordings(obj, style)}
    assert set(canvas("sketch").retain) == shown


@pytest.mark.parametrize(("last", "first"), [("airplane", "fish"), ("blueprint", "sketch")])
def test_after_the_last_comes_the_first_and_no_weapon(last: str, first: str) -> None:
    plan = canvas(last)
    assert all(first in replaced for (replaced,) in plan.replacement.values())


@pytest.mark.parametrize("weapon", WEAPONS)
def test_no_weapon_stands_in_for_a_weapon(weapon: str) -> None:
    assert canvas(weapon).replacement[canvas_prompt(weapon)] == (canvas_prompt("fish"),)


def test_the_weapons_can_be_forgotten_all_at_once() -> None:
    plan = canvas("weapons")
    assert plan.erased == WEAPONS
    assert set(plan.forget) == {p for weapon in WEAPONS for p in canvas(weapon).forget}
    assert not any(weapon in prompt for weapon in WEAPONS for prompt in plan.retain)


@pytest.mark.parametrize("instead", ["castle", "An image of a castle", "a castle"])
def test_an_anchor_that_names_an_object_keeps_the_style(instead: str) -> None:
    plan = canvas("church", instead)
    assert plan.replacement["an image of a church in sketch style"] == (
        "an image of a castle in sketch style",
    )
    assert plan.replacement["a church"] == ("a castle",)


@pytest.mark.parametrize("instead", ["glossy", "glossy style", "in glossy style"])
def test_an_anchor_that_names_a_style_keeps_the_object(instead: str) -> None:
    plan = canvas("sketch", instead)
    assert plan.replacement["a sketch of a dog"] == ("a glossy drawing of a dog",)


@pytest.mark.parametrize(
    "instead", ["", "a grey sky", "an image of a castle in sketch style", "an image of a Cathedral"]
)
def test_any_other_anchor_stands_in_for_all_as_it_is(instead: str) -> None:
    assert set(canvas("church", instead).replacement.values()) == {(instead,)}


@given(st.sampled_from([*OBJECTS, *STYLES]))
def test_any_other_name_may_stand_in_but_never_the_true_one(concept: str) -> None:
    plan = canvas(concept, "any")
    names = OBJECTS if concept in OBJECTS else STYLES
    assert set(plan.forget).isdisjoint(plan.retain)
    for replaced in plan.replacement.values():
        assert len(set(replaced)) == len(names) - 1
        assert set(replaced).isdisjoint(plan.forget)


@pytest.mark.parametrize(
    "concept", ["Church", " an  image of a church ", "a church", "A Picture of a church"]
)
def test_a_canvas_concept_may_be_spelled_freely(concept: str) -> None:
    assert canvas(concept).erased == ("church",)


@pytest.mark.parametrize("concept", ["Sketch", "a sketch", "sketch style", "in sketch style"])
def test_a_style_may_be_spelled_freely(concept: str) -> None:
    assert canvas(concept).erased == ("sketch",)


def test_the_user_s_own_prompts_are_forgotten_too() -> None:
    plan = plan_concept(
        "church",
        family="canvas",
        instead="apple",
        prompts=["a  church at night", "a steeple", "a church"],
    )
    assert plan.forget[-2:] == ("a church at night", "a steeple")
    assert plan.replacement["a church at night"] == ("an apple at night",)
    assert plan.replacement["a steeple"] == ("an image of an apple",)
    assert len(set(plan.forget)) == len(plan.forget)


def test_the_user_s_own_prompts_leave_the_known_neighbours() -> None:
    plan = plan_concept("church", family="canvas", prompts=["a castle"])
    assert "a castle" in plan.forget
    assert "a castle" not in plan.retain


@pytest.mark.parametrize("family", ["canvas", "general"])
def test_the_user_s_list_of_what_to_retain_is_taken_alone(
    family: Literal["canvas", "general"],
) -> None:
    assert plan_concept("church", family=family, retain=[" a  dog"]).retain == ("a dog",)
    assert plan_concept("church", family=family, retain=[]).retain == ()


def test_a_class_is_forgotten_as_in_the_paper() -> None:
    plan = plan_concept("Church", family="general")
    assert (plan.kind, plan.erased) == ("class", ("church",))
    assert plan.replacement == {"an image of a church": ("an image of a French horn",)}
    assert plan.retain == tuple(one.prompt for one in CLASSES if one.name != "church")


def test_any_of_the_nine_other_classes_may_stand_in() -> None:
    plan = plan_concept("church", family="general", instead="any")
    assert plan.replacement["an image of a church"] == plan.retain


@pytest.mark.parametrize(
    ("instead", "prompt"),
    [
        ("next", "an image of a French horn"),
        ("golf ball", "an image of a golf ball"),
        ("an image of a castle", "an image of a castle"),
    ],
)
def test_a_class_is_replaced_by_the_anchor_given(instead: str, prompt: str) -> None:
    plan = plan_concept("church", family="general", instead=instead)
    assert plan.replacement == {"an image of a church": (prompt,)}


def test_own_prompts_of_a_class_take_the_stand_in_s_name() -> None:
    plan = plan_concept("tench", family="general", prompts=["A tench in a net", "a carp"])
    assert plan.replacement["A tench in a net"] == ("an English springer in a net",)
    assert plan.replacement["a carp"] == ("an image of an English springer",)


@pytest.mark.parametrize("concept", ["nudity", "Nudity", "NSFW"])
def test_nudity_is_forgotten_as_in_the_paper(concept: str) -> None:
    plan = plan_concept(concept, family="general", prompts=["a nude statue"])
    assert (plan.kind, plan.erased, plan.retain) == ("nudity", ("nudity",), CLOTHED)
    assert plan.forget == (NUDE, "a nude statue")
    assert set(plan.replacement.values()) == {(CLOTHED_PERSON,)}


def test_another_thing_becomes_an_object() -> None:
    plan = plan_concept(
        "unicorn", family="general", prompts=["a unicorn in a wood", "a horned horse"]
    )
    assert (plan.kind, plan.erased) == ("general", ("unicorn",))
    for template in OBJECT_TEMPLATES:
        assert plan.replacement[template.format("a unicorn")] == (template.format("an object"),)
    assert plan.replacement["a unicorn in a wood"] == ("an object in a wood",)
    assert plan.replacement["a horned horse"] == ("an image of an object",)


@pytest.mark.parametrize(
    "concept",
    ["Van Gogh style", "the style of Van Gogh", "in the style of  Van Gogh", "in Van Gogh's style"],
)
def test_a_style_leaves_its_subject(concept: str) -> None:
    own = ["Starry Night by Van Gogh", "a boat, Van Gogh style", "sunflowers"]
    plan = plan_concept(concept, family="general", prompts=own)
    assert (plan.kind, plan.erased) == ("general", ("Van Gogh",))
    for subject in STYLE_SUBJECTS:
        for template in STYLE_TEMPLATES:
            prompt = template.format(subject=subject, name="Van Gogh")
            assert plan.replacement[prompt] == (subject,)
    left = [plan.replacement[prompt] for prompt in own]
    assert left == [("Starry Night",), ("a boat",), (STYLE_SUBJECTS[0],)]


def test_general_prompts_that_show_the_concept_are_not_retained() -> None:
    plan = plan_concept("dogs", family="general")
    assert set(GENERAL) - set(plan.retain) == {"a photo of a dog running on grass"}


def test_a_general_anchor_stands_in_for_all_as_it_is() -> None:
    plan = plan_concept("poodle", family="general", instead="a dog", prompts=["a poodle asleep"])
    assert set(plan.replacement.values()) == {("a dog",)}


@pytest.mark.parametrize(
    ("concept", "instead", "said"),
    [
        ("", None, "the concept is empty"),
        (" \t", None, "the concept is empty"),
        ("chruch", None, "neither an object nor a style .* the nearest is church"),
        ("xyzzy", None, "there are fish, dog, .*, blueprint"),
        ("an image of a church in sketch style", None, "neither an object nor a style"),
        ("church", "catsle", "'catsle' cannot stand in .* the nearest are castle"),
        ("church", "flat", "it is no object of the demo model"),
        ("sketch", "castle", "it is no style of the demo model"),
        ("church", "a church", "is to be forgotten, so it cannot stand in"),
        ("weapon", "knife", "is to be forgotten, so it cannot stand in"),
    ],
)
def test_what_the_canvas_cannot_do_is_said(concept: str, instead: str | None, said: str) -> None:
    with pytest.raises(PromptError, match=said):
        canvas(concept, instead)


@pytest.mark.parametrize(
    ("concept", "instead", "said"),
    [
        (" ", None, "the concept is empty"),
        ("in the style of", None, "names no style"),
        ("unicorn", "any", "none of a known set of classes"),
        ("nudity", "next", "none of a known set of classes"),
        ("church", "an image of a church", "is to be forgotten, so it cannot stand in"),
        ("unicorn", "a unicorn", "is to be forgotten, so it cannot stand in"),
    ],
)
def test_what_no_general_plan_can_do_is_said(concept: str, instead: str | None, said: str) -> None:
    with pytest.raises(PromptError, match=said):
        plan_concept(concept, family="general", instead=instead)


def test_a_prompt_both_to_forget_and_to_retain_is_refused() -> None:
    with pytest.raises(PromptError, match="'a church' is both"):
        plan_concept("church", family="canvas", retain=["a dog", "a church"])


def test_the_empty_prompt_cannot_be_forgotten() -> None:
    with pytest.raises(PromptError, match="a prompt to forget is empty"):
        plan_concept("church", family="general", prompts=[" "])


@pytest.mark.parametrize(
    ("concept", "family", "prompt", "name"),
    [
        ("church", "canvas", "two churches", "church"),
        ("sketch", "canvas", "a sketch of two dogs", "sketch"),
        ("teapot", "general", "a table with a Teapot on it", "teapot"),
        ("Van Gogh style", "general", "a field by Van Gogh", "Van Gogh"),
        ("nudity", "general", "some nudity", "nudity"),
    ],
)
def test_a_prompt_to_retain_that_names_the_concept_is_refused(
    concept: str, family: Literal["canvas", "general"], prompt: str, name: str
) -> None:
    with pytest.raises(PromptError, match=f"{prompt!r} is to be retained but names {name!r}"):
        plan_concept(concept, family=family, retain=["a dog", prompt])


def test_an_article_is_none_within_a_name() -> None:
    assert mentions("a field by Van Gogh", "Van Gogh")
    assert bare("the moon") == "moon"
