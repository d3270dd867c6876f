"""Several concepts in one plan: what stands in, what is retained, whose a prompt is."""

import pytest

from prompts.canvas import OBJECTS, STYLES
from prompts.concepts.concepts import plan_concept
from prompts.concepts.plan import ConceptPlan
from prompts.concepts.together import together
from prompts.errors import PromptError


def canvas(*names: str, **settings: str) -> ConceptPlan:
    return together([plan_concept(name, family="canvas", **settings) for name in names])  # type: ignore[arg-type]


def general(*names: str, **settings: str) -> ConceptPlan:
    return together([plan_concept(name, family="general", **settings) for name in names])  # type: ignore[arg-type]


def test_one_concept_s_plan_stays_as_it_is() -> None:
    plan = plan_concept("church", family="canvas")
    assert together([plan]) is plan
    assert plan.each == (plan,)


@pytest.mark.parametrize("names", [("church", "dog"), ("church", "dog", "sketch"), OBJECTS[:5]])
def test_no_stand_in_and_nothing_retained_shows_any_of_the_concepts(
    names: tuple[str, ...],
) -> None:
    plan = canvas(*names)
    forgotten = set(plan.forget)
    each = [set(plan_concept(name, family="canvas").forget) for name in names]
    assert forgotten == set().union(*each)
    assert plan.retain
    assert not forgotten & set(plan.retain)
    assert not any(forgotten & set(stand_ins) for stand_ins in plan.replacement.values())
    assert all(plan.replacement[prompt] for prompt in plan.forget)
    assert plan.erased == names
    assert plan.concept == ", ".join(names)


def test_with_a_style_only_prompts_in_other_styles_are_retained() -> None:
    plan = canvas("church", "sketch")
    assert all(any(style in prompt for style in STYLES) for prompt in plan.retain)
    assert not any("sketch" in prompt or "church" in prompt for prompt in plan.retain)


def test_a_stand_in_that_is_forgotten_gives_way_to_its_own() -> None:
    first = OBJECTS[0]
    after = plan_concept(first, family="canvas").replacement[first]
    assert len(after) == 1
    second = next(name for name in OBJECTS if name in after[0])
    plan = canvas(first, second)
    assert second not in plan.replacement[first][0]


def test_every_prompt_belongs_to_the_first_concept_that_forgets_it() -> None:
    plan = canvas("church", "sketch")
    for number, part in enumerate(plan.each):
        assert all(plan.owner(prompt) == number for prompt in part.forget)
    assert plan.owner("my own church at night") == 0
    with pytest.raises(PromptError, match="names none of church, sketch"):
        plan.owner("a dog")


def test_concepts_in_general_retain_what_names_none_of_them() -> None:
    plan = general("teapot", "bicycle", "Van Gogh style")
    assert plan.kind == "general"
    assert plan.retain
    assert not any("teapot" in prompt or "bicycle" in prompt for prompt in plan.retain)


def test_where_all_classes_are_forgotten_nothing_can_stand_in() -> None:
    with pytest.raises(PromptError, match="is itself forgotten"):
        canvas(*OBJECTS)


def test_a_concept_that_another_covers_is_refused() -> None:
    with pytest.raises(PromptError, match="forgets no prompt that the concepts before it do not"):
        canvas("weapon", plan_concept("weapon", family="canvas").erased[0])
