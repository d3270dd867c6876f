"""What was lost follows from what was seen: each measure worked out by hand, without pictures."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from erasure.storage.tables import to_table
from eval.damage.neighbours import Neighbour
from eval.judges.judge import NOTHING, Guess, Judgement
from pipelines.audit.damage.counting import NO_LABELS, Drawn, counted
from pipelines.audit.damage.looks import Looks
from pipelines.audit.damage.pairs import Pairs, paired
from pipelines.audit.damage.questions import Ask
from pipelines.audit.damage.rows import rows_of
from pipelines.audit.damage.vocabulary import Vocabulary

WORDS = Vocabulary(
    head="object",
    concept=("church",),
    others=("castle", "apple"),
    attributes={"style": ("sketch", "flat")},
)
RANKING = (Neighbour("castle", 0.9), Neighbour("apple", -0.2))


def seen(*labels: str, style: str = "sketch") -> Judgement:
    """Make a judgement whose object head gives these labels, the likeliest first."""
    guesses = tuple(Guess(label, 0.9 / (n + 1)) for n, label in enumerate(labels))
    return Judgement(guesses={"object": guesses, "style": (Guess(style, 0.9),)})


def asks(group: str, prompt: str, count: int = 4) -> list[Ask]:
    return [Ask(group, prompt, seed) for seed in range(count)]


def pairs(
    asked: Sequence[Ask], before: Sequence[Judgement], after: Sequence[Judgement], spread: float
) -> Pairs:
    """Features of the base lie on a line; those of the audited model are `spread` as far apart."""
    places = torch.arange(len(asked), dtype=torch.float32)[:, None].expand(-1, 3)
    return Pairs(
        asks=tuple(asked), before=tuple(before), after=tuple(after), old=places, new=spread * places
    )


@pytest.fixture
def drawn() -> Drawn:
    """The castle goes, the apple stays; churches become castles or nothing, all look alike."""
    plain = asks("", "an image of a church in sketch style")
    castles = asks("castle", "an image of a castle in sketch style")
    apples = asks("apple", "an image of an apple in flat style")
    beside = asks("apple", "an image of a church and an apple")
    alone = asks("apple", "an image of an apple")
    castle, apple, church = seen("castle", "church"), seen("apple", style="flat"), seen("church")
    return Drawn(
        pairs={
            "concept": pairs(
                plain, [church] * 4, [castle, castle, castle, seen(NOTHING, style=NOTHING)], 0.5
            ),
            "kept": pairs(
                [*castles, *apples],
                [castle] * 4 + [apple] * 4,
                [seen(NOTHING, "castle")] * 4 + [apple] * 4,
                1.0,
            ),
            "companions": pairs(
                beside, [seen("church", "apple")] * 4, [seen("apple"), *[seen("church")] * 3], 0.0
            ),
        },
        again=Looks(tuple([castle] * 8), torch.arange(8.0)[:, None].expand(-1, 3) + 0.5),
        without=(tuple(alone), Looks(tuple([apple] * 4), torch.zeros(4, 3))),
        vocabulary=WORDS,
        ranking=RANKING,
    )


def test_the_nearest_neighbour_falls_and_the_far_one_stays(drawn: Drawn) -> None:
    table = to_table(counted(drawn))
    castle, apple = table["neighbours"]["text"]["drops"]
    assert (castle["group"], castle["rank"], castle["change"]["value"]) == ("castle", 1, -1.0)
    assert (apple["group"], apple["rank"], apple["change"]["value"]) == ("apple", 2, 0.0)
    assert castle["change"]["high"] < 0 < apple["change"]["high"]
    curve = table["neighbours"]["text"]["curve"]
    assert [point["change"]["value"] for point in curve] == [-1.0, -0.5]
    assert table["neighbours"]["confusion"]["drops"][0]["group"] == "castle"


def test_a_label_is_near_to_a_group_by_each_of_its_things(drawn: Drawn) -> None:
    # Apples are taken for chapels, the second thing of the group; castles hardly for anything.
    words = Vocabulary(
        head="object", concept=("church", "chapel"), others=("castle", "apple"), attributes={}
    )
    asked = [*asks("castle", "a castle"), *asks("apple", "an apple")]
    looks = [seen("castle", "cat", "church")] * 4 + [seen("apple", "chapel")] * 4
    group = replace(
        drawn,
        pairs={**drawn.pairs, "kept": pairs(asked, looks, looks, 1.0)},
        vocabulary=words,
    )
    drops = to_table(counted(group))["neighbours"]["confusion"]["drops"]
    assert [one["group"] for one in drops] == ["apple", "castle"]


def test_what_is_drawn_instead_is_counted_with_what_the_judge_rejects(drawn: Drawn) -> None:
    instead = to_table(counted(drawn))["instead"]
    assert instead["base"]["entropy"] == 0
    assert instead["audited"]["shares"]["castle"]["count"] == 3
    assert instead["audited"]["shares"][NOTHING]["count"] == 1
    assert instead["moved"] == 1.0


def test_companions_attributes_and_distances_are_those_worked_out_by_hand(drawn: Drawn) -> None:
    table = to_table(counted(drawn))
    (apple,) = table["companions"]
    assert (apple["before"]["count"], apple["after"]["count"]) == (4, 1)
    (sketch,) = table["attributes"]["concept"]
    assert sketch["group"] == "sketch"
    assert (sketch["before"]["count"], sketch["after"]["count"]) == (4, 3)
    assert [one["change"]["value"] for one in table["attributes"]["kept"]] == [0.0, 0.0]
    assert table["diversity"]["concept"]["value"] == pytest.approx(-1)  # half as far apart
    assert table["diversity"]["kept"]["value"] == 0
    # Audited pictures of the pair lie where those of the apple alone do; the base's 0 to 3 sqrt 3.
    assert table["in_prompt"]["audited"]["value"] == 0
    assert table["in_prompt"]["change"]["value"] == pytest.approx(-1.5 * 3**0.5)
    assert table["kernel"]["distance"] == table["kernel"]["seeds"]  # nothing that was kept moved
    assert table["kernel"]["units"] == 0
    assert table["not_measured"] == ["colours, numbers and places: no judge at hand tells them"]


def test_a_judge_without_labels_leaves_the_distances_and_names_what_is_missing(
    drawn: Drawn,
) -> None:
    bare = Drawn(
        pairs=drawn.pairs, again=drawn.again, without=drawn.without, vocabulary=None, ranking=()
    )
    damage = counted(bare)
    assert damage["kernel"] is not None
    for name in ("instead", "neighbours", "companions", "attributes"):
        assert damage[name] is None
        assert f"{name}: {NO_LABELS}" in damage["not_measured"]


def test_a_group_that_the_base_does_not_show_is_no_test(drawn: Drawn) -> None:
    pairs = drawn.pairs["kept"]
    blind = Pairs(
        asks=pairs.asks,
        before=tuple([seen(NOTHING)] * 8),
        after=pairs.after,
        old=pairs.old,
        new=pairs.new,
    )
    other = Drawn(
        pairs={**drawn.pairs, "kept": blind},
        again=drawn.again,
        without=drawn.without,
        vocabulary=WORDS,
        ranking=RANKING,
    )
    drops = counted(other)["neighbours"]["text"]["drops"]
    assert [one["test"] for one in drops] == [False, False]


def test_pairs_of_which_one_picture_cannot_be_used_are_left_out() -> None:
    asked = asks("apple", "an image of an apple", 3)
    one = seen("apple")
    base = Looks((one, None, one), torch.arange(3.0)[:, None])
    audited = Looks((one, one, None), torch.arange(3.0)[:, None] + 10)
    made = paired(asked, base, audited)
    assert [ask.seed for ask in made.asks] == [0]
    assert made.features()[1].tolist() == [[10.0]]


def test_every_measure_has_its_rows(drawn: Drawn) -> None:
    damage: dict[str, Any] = to_table(counted(drawn))
    rows = rows_of(damage)
    names = [row.measure for row in rows]
    assert names[:3] == ["neighbour", "neighbour", "companion"]
    for start in ("attribute", "drawn instead", "entropy", "diversity", "distance", "kernel"):
        assert any(name.startswith(start) for name in names), start
    assert rows_of({"reason": "not asked for"}) == []
