"""Neighbours by text and by confusion, their drops, and the curve over rank, by brute force."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eval.damage.drops import curve_over_rank, drops_by_group, neighbour_drops
from eval.damage.neighbours import Neighbour, ranked_by_confusion, ranked_by_text
from eval.errors import EvalError
from eval.judges.judge import Guess, Judgement
from eval.rates.intervals import paired_shares, wilson


def test_texts_are_ranked_by_the_cosine_that_is_left_without_their_mean() -> None:
    concept = torch.tensor([11.0, 1.0])
    others = {
        "far": torch.tensor([9.0, -1.0]),
        "near": torch.tensor([11.0, 0.5]),
        "side": torch.tensor([9.0, 1.0]),
    }
    ranking = ranked_by_text(concept, others)
    assert [one.label for one in ranking] == ["near", "side", "far"]
    texts = [concept.tolist(), *(t.tolist() for t in others.values())]
    mean = [sum(column) / 4 for column in zip(*texts, strict=True)]
    a, b = ([x - m for x, m in zip(row, mean, strict=True)] for row in (texts[0], texts[2]))
    cosine = sum(x * y for x, y in zip(a, b, strict=True))
    cosine /= sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5
    assert ranking[0].similarity == pytest.approx(cosine)


def test_texts_of_other_shapes_or_of_no_number_are_refused() -> None:
    one = torch.ones(3)
    with pytest.raises(EvalError, match="shapes"):
        ranked_by_text(one, {"a": torch.ones(2)})
    with pytest.raises(EvalError, match="not finite"):
        ranked_by_text(one, {"a": torch.tensor([1.0, 2.0, float("nan")])})
    with pytest.raises(EvalError, match="no other concept"):
        ranked_by_text(one, {})


def judged(**scores: float) -> Judgement:
    return Judgement(guesses={"object": tuple(Guess(n, s) for n, s in scores.items())})


def test_confusions_are_the_mean_of_both_directions() -> None:
    asked = ["church", "church", "castle", "castle", "apple"]
    said = [
        judged(church=0.7, castle=0.3),
        judged(church=0.9, castle=0.1),
        judged(castle=0.6, church=0.4),
        judged(castle=1.0),
        judged(apple=0.99, church=0.01),
    ]
    assert ranked_by_confusion("church", asked, said, "object") == (
        Neighbour("castle", pytest.approx((0.2 + 0.2) / 2)),
        Neighbour("apple", pytest.approx((0.01 + 0.0) / 2)),
    )
    with pytest.raises(EvalError, match="give some of 'dog' and some of another"):
        ranked_by_confusion("dog", asked, said, "object")


@given(st.integers(0, 10_000))
def test_drops_and_their_curve_are_those_of_the_pictures_taken_by_hand(seed: int) -> None:
    draw = random.Random(seed)
    names = ["a", "b", "c"]
    groups = [draw.choice(names) for _ in range(draw.randint(1, 30))]
    before = [draw.random() < 0.8 for _ in groups]
    after = [draw.random() < 0.5 for _ in groups]
    ranking = [Neighbour(n, 1 - k / 10) for k, n in enumerate(draw.sample(names, 3))]
    rows = list(zip(groups, before, after, strict=True))
    for drop in drops_by_group(groups, before, after):
        own = [(b, a) for g, b, a in rows if g == drop.group]
        assert drop.before == wilson(sum(b for b, _ in own), len(own))
        assert drop.change == paired_shares(*zip(*own, strict=True))
    drops = neighbour_drops(ranking, groups, before, after)
    assert [one.drop.group for one in drops] == [n.label for n in ranking if n.label in groups]
    for point in curve_over_rank(ranking, groups, before, after):
        known = {n.label for n in ranking[: point.rank]}
        lost = sum(a - b for g, b, a in rows if g in known)
        assert point.change.pairs == sum(g in known for g in groups)
        assert point.change.value == pytest.approx(lost / point.change.pairs)


def test_pictures_without_a_rank_and_answers_that_do_not_pair_are_refused() -> None:
    with pytest.raises(EvalError, match="pictures of 'b' have no rank"):
        neighbour_drops([Neighbour("a", 1.0)], ["a", "b"], [True, True], [True, False])
    with pytest.raises(EvalError, match="2 groups, 2 answers before and 1 after"):
        drops_by_group(["a", "b"], [True, True], [True])
