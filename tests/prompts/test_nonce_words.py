"""Words that mean nothing in a concept's place, each prompt keeping its own wording."""

import pytest

from prompts.canvas import OBJECTS, STYLES
from prompts.concepts.concepts import Family, plan_concept
from prompts.concepts.nonce import NONCE_WORDS
from prompts.concepts.phrases import mentions
from prompts.errors import PromptError


@pytest.mark.parametrize(
    ("concept", "family", "prompt", "stand_in"),
    [
        (
            "church",
            "canvas",
            "an image of a church in flat style",
            "an image of a {} in flat style",
        ),
        ("apple", "canvas", "an image of an apple", "an image of a {}"),
        (
            "sketch",
            "canvas",
            "an image of a fish in sketch style",
            "an image of a fish in {} style",
        ),
        ("weapon", "canvas", "an image of a bomb", "an image of a {}"),
        ("teapot", "general", "a photo of a teapot", "a photo of a {}"),
        ("Van Gogh style", "general", "a painting in Van Gogh style", "a painting in {} style"),
        ("tench", "general", "an image of a tench", "an image of a {}"),
        (
            "Van Gogh",
            "unlearncanvas",
            "A Cats image in Van Gogh style.",
            "A Cats image in {} style.",
        ),
    ],
)
def test_a_nonce_word_stands_where_the_concept_stood(
    concept: str, family: Family, prompt: str, stand_in: str
) -> None:
    plan = plan_concept(concept, family=family, instead="nonce")
    assert plan.replacement[prompt] == tuple(map(stand_in.format, NONCE_WORDS))
    plain = plan_concept(concept, family=family)
    assert (plan.forget, plan.retain, plan.erased) == (plain.forget, plain.retain, plain.erased)
    shown = [text for stand_ins in plan.replacement.values() for text in stand_ins]
    assert not [text for text in shown for name in plan.erased if mentions(text, name)]


def test_a_prompt_of_the_user_s_keeps_its_wording_where_it_names_the_concept() -> None:
    own = ["a teapot on the moon", "something to pour from"]
    plan = plan_concept("teapot", family="general", instead="nonce", prompts=own)
    assert plan.replacement[own[0]][0] == f"a {NONCE_WORDS[0]} on the moon"
    assert plan.replacement[own[1]] == plan.replacement["an image of a teapot"]


def test_what_no_prompt_names_has_no_word_to_replace() -> None:
    with pytest.raises(PromptError, match="no word can stand in for 'nudity'"):
        plan_concept("nudity", family="general", instead="nonce")


def test_a_model_that_is_told_classes_reads_no_words() -> None:
    with pytest.raises(PromptError, match="'nonce' is no class of this model"):
        plan_concept("boot", family="general", labels=("boot", "bag"), instead="nonce")


def test_no_nonce_word_is_one_that_the_canvas_learned() -> None:
    assert not {*NONCE_WORDS} & {word for name in (*OBJECTS, *STYLES) for word in name.split()}
