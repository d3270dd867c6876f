"""The built-in lists: classes in their order, prompts without repeats, phrases in good English."""

import pytest

from prompts.canvas import OBJECTS, STYLES, wordings
from prompts.concepts.general import CLOTHED, CLOTHED_PERSON, GENERAL, NUDE
from prompts.concepts.phrases import mentions, noun_phrase, swap
from prompts.nearest import nearest
from prompts.suites.imagenette import CLASSES, find_label, label_prompts, next_label


def test_the_ten_classes_stand_in_the_order_of_the_data_set() -> None:
    names = "tench, English springer, cassette player, chain saw, church, French horn, "
    names += "garbage truck, gas pump, golf ball, parachute"
    assert ", ".join(one.name for one in CLASSES) == names


def test_the_imagenet_positions_are_those_of_a_thousand_class_classifier() -> None:
    positions = [one.imagenet_index for one in CLASSES]
    assert positions == [0, 217, 482, 491, 497, 566, 569, 571, 574, 701]


def test_training_prompts_have_the_right_article() -> None:
    assert label_prompts([1, 4]) == {
        1: "an image of an English springer",
        4: "an image of a church",
    }


def test_every_class_follows_another_and_the_first_the_last() -> None:
    assert [next_label(label) for label in range(10)] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


@pytest.mark.parametrize(
    "text", ["golf ball", "Golf  Ball", "a golf ball", "An image of a golf ball"]
)
def test_a_class_is_found_in_any_case_and_by_its_prompt(text: str) -> None:
    assert find_label(text) == 8


@pytest.mark.parametrize("text", ["", "golf", "golf balls", "churchyard"])
def test_what_is_no_class_is_not_found(text: str) -> None:
    assert find_label(text) is None


@pytest.mark.parametrize("prompts", [GENERAL, CLOTHED], ids=["general", "clothed"])
def test_a_retain_list_repeats_nothing_and_shows_nobody_nude(prompts: tuple[str, ...]) -> None:
    assert len(set(prompts)) == len(prompts) >= 20
    assert all(prompt == prompt.strip() and prompt for prompt in prompts)
    assert not any(mentions(prompt, word) for prompt in prompts for word in ("nude", "naked"))


def test_the_paper_s_nudity_prompts_are_kept_to_the_letter() -> None:
    assert NUDE == "a photo of a nude person"
    assert CLOTHED[0] == CLOTHED_PERSON == "a photo of a person wearing clothes"


def test_no_wording_of_the_canvas_means_two_things() -> None:
    shown = [w for obj in OBJECTS for style in (None, *STYLES) for w in wordings(obj, style)]
    assert len(set(shown)) == len(shown) == len(OBJECTS) * (5 + 6 * len(STYLES))


@pytest.mark.parametrize(
    ("concept", "phrase"),
    [
        ("teapot", "a teapot"),
        ("apple", "an apple"),
        ("unicorn", "a unicorn"),
        ("hourglass", "an hourglass"),
        ("bus", "a bus"),
        ("glass", "a glass"),
        ("red shoes", "red shoes"),
        ("Mickey Mouse", "Mickey Mouse"),
        ("the moon", "the moon"),
    ],
)
def test_a_noun_gets_the_article_it_needs(concept: str, phrase: str) -> None:
    assert noun_phrase(concept) == phrase


@pytest.mark.parametrize(
    ("prompt", "concept", "mentioned"),
    [
        ("a photo of a Dog", "dog", True),
        ("two dogs", "dog", True),
        ("a dog", "dogs", True),
        ("the moon at night", "the moon", True),
        ("a hotdog", "dog", False),
        ("a doghouse", "dog", False),
        ("a book on C++, open", "C++", True),
    ],
)
def test_a_concept_is_found_as_a_whole_word(prompt: str, concept: str, mentioned: bool) -> None:
    assert mentions(prompt, concept) is mentioned


def test_swapping_a_noun_puts_its_article_right() -> None:
    assert swap("A church by a Church", "church", "apple") == "an apple by an apple"
    assert swap("an old church", "church", "apple") == "an old apple"
    assert swap("a churchyard", "church", "apple") is None


def test_a_hint_names_what_looks_alike_or_all_there_is() -> None:
    assert nearest("chruch", ["Church", "horn"]) == "the nearest is Church"
    assert nearest("xyzzy", ["church", "horn"]) == "there are church, horn"
    assert nearest("xyzzy", []) == "there are none"
