"""An object and a style erased together: each kind by itself, both together, and the rest."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from eval.judges.judge import NOTHING
from eval.rates.intervals import wilson
from eval.rates.several_kinds import rates_of_kinds
from eval.rates.unlearning_rates import Labels, UnlearningRates, unlearning_rates
from pipelines.evaluation.outcome.verdict import verdict

HEADS = {"object": ("church", "dog", "cat"), "style": ("sketch", "flat")}
ERASED = {"object": ("church",), "style": ("sketch",)}
# A church, a dog and a cat, each as a sketch and flat.
ASKED: list[Labels] = [
    {"object": obj, "style": style} for obj in HEADS["object"] for style in HEADS["style"]
]


def seen(*pairs: str | None) -> list[Labels | None]:
    """`dog/flat` -> what is seen in one picture."""
    return [dict(zip(HEADS, p.split("/"), strict=True)) if p else None for p in pairs]


def judged(
    after: Sequence[Labels | None],
    before: Sequence[Labels | None] | None = None,
    rejecting: Sequence[str] = (),
) -> UnlearningRates:
    return rates_of_kinds(ASKED, after, before, erased=ERASED, heads=[*HEADS], rejecting=rejecting)


def rate(rates: UnlearningRates, name: str) -> tuple[int, int]:
    after = rates.rates[name].after
    assert after is not None
    return after.count, after.total


AFTER = seen("dog/flat", "church/flat", "dog/sketch", "dog/flat", "cat/flat", "dog/flat")


def test_each_kind_is_counted_by_hand() -> None:
    rates = judged(AFTER)
    assert list(rates.rates) == ["ua", "ua_object", "ua_style", "ira", "cra"]
    assert rate(rates, "ua_object") == (1, 2)  # the flat church is still seen
    assert rate(rates, "ua_style") == (2, 3)  # the sketched dog still is a sketch
    assert rate(rates, "ua") == (2, 4)  # of the sketched church neither is seen, nor of the cat
    assert rate(rates, "ira") == (1, 2)  # the flat cat became a dog; no other counts
    assert rate(rates, "cra") == (2, 2)


def test_there_is_a_row_for_each_concept_and_for_what_was_asked_for_without_one() -> None:
    rows = {(c.head, c.label): (c.erased, c.accuracy.after) for c in judged(AFTER).classes}
    assert rows == {
        ("object", "church"): (True, wilson(1, 2)),
        ("object", "dog"): (False, wilson(1, 1)),
        ("object", "cat"): (False, wilson(0, 1)),
        ("style", "sketch"): (True, wilson(1, 3)),
        ("style", "flat"): (False, wilson(2, 2)),
    }


def test_a_picture_that_cannot_be_used_counts_nowhere() -> None:
    rates = judged([None, *AFTER[1:3], None, *AFTER[4:]])
    assert rate(rates, "ua") == (1, 3)
    assert rate(rates, "ira") == (0, 1)


def test_a_rejected_picture_is_destroyed_and_not_forgotten() -> None:
    after = seen(f"{NOTHING}/{NOTHING}", "church/flat", f"dog/{NOTHING}", "dog/flat",
                 "cat/flat", f"{NOTHING}/flat")  # fmt: skip
    rates = judged(after, rejecting=["object", "style"])
    counts = {name: (r.after.count, r.after.total) for name, r in rates.rejected.items() if r.after}
    assert counts == {
        "ua": (2, 4),
        "ua_object": (1, 2),
        "ua_style": (2, 3),
        "ira": (1, 2),
        "cra": (0, 2),
    }
    assert judged(after, rejecting=["object"]).rejected.keys() == {"ua_object", "ira"}
    assert judged(after).rejected == {}


def test_before_and_after_are_paired() -> None:
    rates = judged(AFTER, seen(*(f"{a['object']}/{a['style']}" for a in ASKED)))
    difference = rates.rates["ira"].difference
    assert difference is not None
    assert (difference.value, difference.pairs) == (-0.5, 2)
    before = rates.rates["ua"].before
    assert before is not None
    assert (before.count, before.total) == (0, 4)


LABELS = st.sampled_from(["church/flat", "dog/flat", "cat/sketch", "church/sketch", None])


@given(st.lists(LABELS, min_size=6, max_size=6))
def test_one_kind_alone_has_the_rates_of_one_kind(pairs: list[str | None]) -> None:
    after = seen(*pairs)
    several = rates_of_kinds(ASKED, after, erased={"object": ("church",)}, heads=[*HEADS])
    one = unlearning_rates(ASKED, after, erased=["church"], head="object", cross="style")
    for name, compared in one.rates.items():
        assert several.rates[name] == compared
    assert several.rates["ua_object"] == one.rates["ua"]


def test_the_verdict_speaks_of_each_kind_and_once_of_attacks() -> None:
    same = seen(*(f"{a['object']}/{a['style']}" for a in ASKED))
    said = verdict(("church", "sketch"), judged(AFTER, same), {}, [])
    assert said.startswith("church is weakened, still recognised in 1 of 2 pictures")
    assert "sketch is weakened" not in said.split(". ")[0]
    assert "sketch is weakened, still recognised in 1 of 3 pictures" in said
    assert said.count("not attacked") == 1
    assert "other objects" in said
    assert "other styles" in said
