"""Other words for a concept: made by templates, listed by hand, and read from a user's table."""

from pathlib import Path

import pytest

from prompts.canvas import OBJECTS, STYLES
from prompts.errors import PromptError
from prompts.suites.imagenette import CLASSES
from prompts.wordings.known import Phrase, known_phrases, read_phrases
from prompts.wordings.spelling import look_alikes, pieces, typos
from prompts.wordings.wordings import plural, wordings


def test_every_concept_of_the_canvas_and_of_imagenette_has_phrases_of_every_relation() -> None:
    wanted = {"synonym", "subclass", "superclass", "indirect", "language de", "language zh"}
    for name in (*OBJECTS, *STYLES, *(one.name for one in CLASSES)):
        assert wanted <= {phrase.kind for phrase in known_phrases(name)}, name


def test_typing_errors_change_one_place() -> None:
    assert list(typos("church")) == ["chucrh", "chuch", "churrch"]
    assert list(typos("ab")) == []
    assert list(pieces("church")) == ["chu-rch", "c h u r c h"]


def test_letters_that_look_alike_are_other_letters() -> None:
    cyrillic, digits = look_alikes("horse")
    assert cyrillic != "horse"
    assert len(cyrillic) == 5
    assert digits == "h0r53"


def test_wordings_of_a_thing_have_every_kind_once_and_never_a_plain_prompt() -> None:
    phrases = wordings("church", "thing", ["a castle"])
    prompts = [phrase.prompt for phrase in phrases]
    assert len(prompts) == len(set(prompts))
    kinds = {phrase.kind.partition(" ")[0] for phrase in phrases}
    assert {"synonym", "subclass", "superclass", "indirect", "language", "typo"} <= kinds
    assert {"look-alike", "cut", "form", "composition", "style"} <= kinds
    assert "an image of a church" not in prompts
    assert "a church next to a castle" in prompts
    assert "an image of une église" in prompts


def test_a_plural_is_spelled_as_english_has_it() -> None:
    assert [plural(noun) for noun in ("church", "butterfly", "dog", "toy")] == [
        "churches",
        "butterflies",
        "dogs",
        "toys",
    ]


def test_a_concept_of_no_list_still_has_templates() -> None:
    phrases = wordings("a red bicycle", "thing")
    assert Phrase("form", "a close-up of a red bicycle") in phrases
    assert not any(phrase.kind == "synonym" for phrase in phrases)


def test_wordings_of_a_style_are_drawn_with_subjects() -> None:
    phrases = wordings("Van Gogh style", "style")
    assert Phrase("form", "a dog drawn like a Van Gogh") in phrases


def test_a_users_table_is_read_with_its_kinds(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("prompt,kind\n a  house of God ,mine\nkirk,\n,\n", encoding="utf-8")
    assert read_phrases(path) == (Phrase("mine", "a house of God"), Phrase("listed", "kirk"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("words\nkirk\n", "has no column 'prompt'"),
        ("prompt\n", "has no prompt in it"),
        ("prompt\na church, at night\n", "row 1 .* 1 cell more than there are columns"),
        ("prompt\n" + "a" * 1001 + "\n", "a prompt of 1001 letters"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PromptError, match=message):
        read_phrases(path)
