"""What brings the concept back by itself, and what is said to be published."""

from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.audit.telling.public import public_sentences


def shop(against: str, published: tuple[str, ...], guard: object = None) -> Any:  # noqa: ANN401
    recipe = SimpleNamespace(against=against, published=published)
    return SimpleNamespace(recipe=recipe, guard=lambda _: guard)


@pytest.mark.parametrize(
    ("against", "published", "wanted"),
    [
        ("a/model", (), "whether base, patch and mask are published was not said"),
        ("demo", (), "whether patch and mask are published was not said"),
        ("a/model", ("nothing",), "none of base, patch, mask is published"),
        ("demo", ("nothing",), "none of patch, mask is published"),
        ("a/model", ("mask", "base"), "published: base, mask, and not patch"),
        ("demo", ("mask",), "published: mask, and not patch"),
        ("a/model", ("base", "patch", "mask"), "published: base, patch, mask"),
    ],
)
def test_what_is_published_is_said_as_far_as_it_is_told(
    against: str, published: tuple[str, ...], wanted: str
) -> None:
    sentences = public_sentences(shop(against, published))
    assert sentences[0].startswith("whoever has the base, or a patch")
    assert any(wanted in sentence for sentence in sentences)
    assert any("everybody has it" in sentence for sentence in sentences) == (against == "demo")
    assert not any("not base" in sentence for sentence in sentences if against == "demo")


def test_a_guard_is_said_to_be_in_no_weight() -> None:
    assert public_sentences(shop("demo", (), guard=object()))[-1].startswith("the guard changes no")
