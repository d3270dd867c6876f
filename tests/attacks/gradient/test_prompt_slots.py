"""Open places in prompts: what the model is told with vectors or words in them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.models.tiny_prompts import KINDS, networks_of, tiny_text

from erasure.architectures.text.text_encoders import TextEncoder, TextEncoderPair
from erasure.attacks.search.simplex import onto_simplex
from erasure.attacks.search.slots import opened, slots_of
from erasure.attacks.search.vocabulary import vocabulary_of
from erasure.errors import ConfigError

Text = TextEncoder | TextEncoderPair


@pytest.fixture(scope="module", params=KINDS)
def text(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Text:
    return tiny_text(request.param, tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Text:
    return tiny_text("sd1", tmp_path_factory.mktemp("letters"))


def test_words_at_open_places_are_told_as_the_same_prompt_to_the_bit(text: Text) -> None:
    words = vocabulary_of(text)
    slots = slots_of(text, ["{} a church", "see {} there"], 2, words)
    b, c = words.words.index("b"), words.words.index("q")
    condition = slots.filled(words, torch.tensor([[b, c], [c, b]]), torch.tensor([0, 1]))
    plain = text.encode(text.tokenize(["b q a church", "see q b there"]))
    for name, value in plain.tensors.items():
        assert torch.equal(condition.tensors[name], value), name


def test_no_open_place_is_the_plain_prompt(text: Text) -> None:
    words = vocabulary_of(text)
    slots = slots_of(text, ["{} a church"], 0, words, size=(64, 64))
    assert slots.prompts == ("a church",)
    nothing = [table.new_zeros(1, 0, table.shape[1]) for table in words.tables]
    condition = slots.told(nothing, torch.tensor([0]))
    for name, value in text.encode(text.tokenize(["a church"])).tensors.items():
        assert torch.equal(condition.tensors[name], value), name


def test_gradients_reach_the_vectors_and_no_weight(text: Text) -> None:
    words = vocabulary_of(text)
    slots = slots_of(text, ["a photo of {}"], 1, words)
    rows = [table[:1].clone()[None].requires_grad_() for table in words.tables]
    condition = slots.told(rows, torch.tensor([0]))
    features = torch.cat([value.flatten() for value in condition.tensors.values()])
    (features * torch.linspace(0, 1, len(features))).sum().backward()
    assert all(row.grad is not None and bool(row.grad.abs().sum() > 0) for row in rows)
    assert all(w.grad is None for network in networks_of(text) for w in network.parameters())


def test_a_row_does_not_depend_on_the_others(text: Text) -> None:
    words = vocabulary_of(text)
    slots = slots_of(text, ["{} a church", "{} a dog"], 1, words)
    chosen = torch.tensor([[3], [4], [5]])
    both = slots.filled(words, chosen, torch.tensor([0, 1, 0]))
    alone = slots.filled(words, chosen[2:], torch.tensor([0]))
    for name, value in alone.tensors.items():
        torch.testing.assert_close(both.tensors[name][2:], value, rtol=1e-4, atol=1e-6)


def test_the_pooled_features_are_those_at_the_end_mark(text: Text) -> None:
    words = vocabulary_of(text)
    slots = slots_of(text, ["{} a church"], 2, words)
    ids = text.tokenize(slots.prompts)[0].ids[0]
    end = int((ids == text.tokenize([""])[0].ids[0, 1]).nonzero()[0])
    assert slots.ends.tolist() == [end]
    condition = slots.filled(words, torch.tensor([[1, 2]]), torch.tensor([0]))
    pooled = slots.pooled(condition, torch.tensor([0]))
    assert torch.equal(pooled[:, : condition.tokens.shape[-1]], condition.tokens[:, end])


def test_words_come_back_as_the_pieces_they_were(sd1: Text) -> None:
    words = vocabulary_of(sd1)
    rows = [words.words.index(letter) for letter in "qxz"]
    assert words.text(rows) == "q x z"
    assert words.comes_back(rows, "q x z a church")
    assert not words.comes_back(rows, "qxz a church")
    for row in range(0, len(words), 7):
        assert words.cut(words.words[row]) == [int(words.ids[row])]


def test_all_pieces_need_not_come_back(sd1: Text) -> None:
    every = vocabulary_of(sd1, pieces="all")
    words = vocabulary_of(sd1)
    assert len(every) > len(words)
    inner = [row for row, number in enumerate(every.ids.tolist()) if number < 256][:2]
    assert not every.comes_back(inner, every.text(inner))


def test_the_vocabulary_leaves_out_what_names_the_concept(sd1: Text) -> None:
    assert "q" in vocabulary_of(sd1).words
    left = vocabulary_of(sd1, without=["q"])
    assert "q" not in left.words
    assert "s" not in left.words  # of the plural
    assert "x" in left.words


@pytest.mark.parametrize(
    ("prompt", "template"),
    [
        ("a church at night", "a {} at night"),
        ("Churches of Rome", "{} of Rome"),
        ("a churchyard", "{} a churchyard"),
        ("a dog", "{} a dog"),
    ],
)
def test_a_prompt_is_opened_where_it_names_the_concept(prompt: str, template: str) -> None:
    assert opened(prompt, "church") == template


def test_a_group_has_its_open_place_where_a_prompt_names_one_of_it() -> None:
    weapons = ("knife", "pocket knife", "bomb", "weapons")
    assert opened("an image of a Bomb in flat style", *weapons) == "an image of a {} in flat style"
    assert opened("two pocket knives and a pocket knife", *weapons) == "two pocket knives and a {}"
    assert opened("a dog", *weapons) == "{} a dog"


def test_a_place_behind_the_window_is_refused(sd1: Text) -> None:
    words = vocabulary_of(sd1)
    with pytest.raises(ConfigError, match=r"leaves 0 of 1 open places inside the 77 tokens"):
        slots_of(sd1, ["a" * 90 + " {}"], 1, words)
    front = slots_of(sd1, ["{} " + "a" * 90], 2, words)  # the end is cut off instead
    assert front.places.tolist() == [[1, 2]]
    assert front.ends.tolist() == [76]


def test_a_template_has_one_open_place(sd1: Text) -> None:
    with pytest.raises(ConfigError, match=r"'a church' has 0 open places; give one \{\}"):
        slots_of(sd1, ["a church"], 1, vocabulary_of(sd1))


def by_bisection(row: list[float]) -> list[float]:
    low, high = min(row) - 1, max(row)
    for _ in range(100):
        middle = (low + high) / 2
        if sum(max(v - middle, 0) for v in row) > 1:
            low = middle
        else:
            high = middle
    return [max(v - high, 0) for v in row]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_the_projection_onto_the_simplex_is_that_of_bisection(row: list[float]) -> None:
    projection = onto_simplex(torch.tensor([row], dtype=torch.float64))
    assert bool((projection >= 0).all())
    assert float(projection.sum()) == pytest.approx(1, abs=1e-9)
    assert projection[0].tolist() == pytest.approx(by_bisection(row), abs=1e-9)
    torch.testing.assert_close(onto_simplex(projection), projection, rtol=0, atol=1e-12)


def test_a_corner_of_the_simplex_stays_to_the_bit() -> None:
    corner = torch.eye(5)
    assert torch.equal(onto_simplex(corner), corner)
