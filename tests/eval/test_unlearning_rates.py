"""UA, IRA, CRA and RA, counted by hand on small canvases."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.errors import EvalError
from eval.judges.judge import NOTHING
from eval.rates.intervals import Proportion, wilson
from eval.rates.unlearning_rates import Labels, UnlearningRates, kinds_of, unlearning_rates

KNOWN = {"object": ("church", "dog"), "style": ("sketch", "flat")}
# Two churches, two dogs, in both styles.
ASKED: list[Labels] = [
    {"object": obj, "style": style} for obj in KNOWN["object"] for style in KNOWN["style"]
]


def seen(*pairs: str | None) -> list[Labels | None]:
    """`dog/flat` -> what is seen in one picture."""
    return [dict(zip(KNOWN, p.split("/"), strict=True)) if p else None for p in pairs]


def rate(rates: UnlearningRates, name: str) -> tuple[int, int]:
    after = rates.rates[name].after
    assert after is not None
    return after.count, after.total


def test_an_erased_object_counted_by_hand() -> None:
    after = seen("dog/flat", "church/flat", "dog/flat", "dog/flat")
    result = unlearning_rates(ASKED, after, erased=["church"], head="object", cross="style")
    assert rate(result, "ua") == (1, 2)  # one of two churches is still seen
    assert rate(result, "ira") == (2, 2)  # both dogs are dogs
    assert rate(result, "cra") == (1, 2)  # the dog asked for as a sketch is flat
    assert list(result.rates) == ["ua", "ira", "cra"]
    assert result.rates["ua"].after == wilson(1, 2)


def test_an_erased_style_counts_the_other_way_round() -> None:
    after = seen("church/sketch", "church/flat", "church/flat", "dog/flat")
    result = unlearning_rates(ASKED, after, erased=["sketch"], head="style", cross="object")
    assert rate(result, "ua") == (1, 2)
    assert rate(result, "ira") == (2, 2)
    assert rate(result, "cra") == (2, 2)  # the wrong object is in a sketch, which is left out


def test_one_head_gives_ua_and_ra() -> None:
    asked = [{"class": c} for c in ("church", "church", "tench", "gas pump")]
    verdicts = [{"class": c} for c in ("tench", "gas pump", "tench", "golf ball")]
    result = unlearning_rates(asked, verdicts, erased=["church"], head="class")
    assert list(result.rates) == ["ua", "ra"]
    assert rate(result, "ua") == (2, 2)
    assert rate(result, "ra") == (1, 2)
    assert [(c.label, c.erased) for c in result.classes] == [
        ("church", True),
        ("tench", False),
        ("gas pump", False),
    ]


def test_several_labels_can_be_erased_together() -> None:
    asked = [{"object": o} for o in ("knife", "bomb", "dog")]
    verdicts = [{"object": o} for o in ("bomb", "dog", "dog")]
    result = unlearning_rates(asked, verdicts, erased={"knife", "bomb"}, head="object")
    # A knife taken for a bomb is not a knife: each is held against what it was asked to be.
    assert rate(result, "ua") == (2, 2)


def test_broken_pictures_count_nowhere_least_of_all_as_forgotten() -> None:
    after = seen(None, "dog/flat", None, "dog/flat")
    result = unlearning_rates(ASKED, after, erased=["church"], head="object", cross="style")
    assert rate(result, "ua") == (1, 1)
    assert rate(result, "ira") == (1, 1)
    assert rate(result, "cra") == (1, 1)


def test_a_model_that_draws_nothing_has_no_rates() -> None:
    result = unlearning_rates(
        ASKED, [None] * 4, [None] * 4, erased=["church"], head="object", cross="style"
    )
    for compared in [*result.rates.values(), *(c.accuracy for c in result.classes)]:
        assert (compared.after, compared.before, compared.difference) == (None, None, None)


def test_differences_pair_only_what_can_be_used_in_both() -> None:
    before = seen("church/sketch", "church/flat", "dog/sketch", None)
    after = seen("dog/sketch", "dog/flat", None, "dog/flat")
    result = unlearning_rates(ASKED, after, before, erased=["church"], head="object", cross="style")
    ua, ira = result.rates["ua"], result.rates["ira"]
    assert (ua.before, ua.after) == (wilson(0, 2), wilson(2, 2))
    assert ua.difference is not None
    assert (ua.difference.value, ua.difference.pairs) == (1.0, 2)
    assert (ira.before, ira.after) == (wilson(1, 1), wilson(1, 1))
    assert ira.difference is None  # the two dogs are usable in one model each


def test_the_same_pictures_differ_by_nothing_and_few_of_them_leave_much_open() -> None:
    verdicts = seen("dog/flat", "church/flat", "dog/flat", "church/flat")
    result = unlearning_rates(
        ASKED, verdicts, verdicts, erased=["church"], head="object", cross="style"
    )
    for compared in [*result.rates.values(), *(c.accuracy for c in result.classes)]:
        assert compared.difference is not None
        assert compared.difference.value == 0.0
        assert compared.difference.low < -0.3
        assert compared.difference.high > 0.3


def test_classes_of_the_other_head_leave_the_erased_out() -> None:
    after = seen("dog/flat", "dog/sketch", "dog/sketch", "dog/sketch")
    result = unlearning_rates(ASKED, after, erased=["church"], head="object", cross="style")
    rows = {(c.head, c.label): c.accuracy.after for c in result.classes}
    assert rows == {
        ("object", "church"): wilson(0, 2),
        ("object", "dog"): wilson(2, 2),
        ("style", "sketch"): wilson(1, 1),
        ("style", "flat"): wilson(0, 1),
    }


def test_a_base_model_alone_has_accuracies_but_no_ua() -> None:
    verdicts: Sequence[Labels | None] = ASKED
    result = unlearning_rates(ASKED, verdicts, erased=(), head="object", cross="style")
    assert result.rates["ua"].after is None
    assert rate(result, "ira") == (4, 4)
    assert rate(result, "cra") == (4, 4)


def test_a_prompt_without_the_label_or_a_judge_without_the_head_counts_nowhere() -> None:
    asked: list[Labels] = [{"object": "dog", "style": "flat"}, {"style": "flat"}]
    result = unlearning_rates(
        asked, [{"object": "dog"}] * 2, erased=["church"], head="object", cross="style"
    )
    assert rate(result, "ira") == (1, 1)
    assert result.rates["cra"].after is None


def test_verdicts_must_be_one_a_picture() -> None:
    with pytest.raises(EvalError, match="4 pictures were asked for, but there are verdicts on 4 a"):
        unlearning_rates(ASKED, seen(*["dog/flat"] * 4), [None], erased=(), head="object")


@pytest.mark.parametrize(
    ("erased", "head"),
    [(["church"], "object"), (["flat", "sketch"], "style"), ([], "object")],
)
def test_the_head_of_what_was_erased_is_found(erased: list[str], head: str) -> None:
    assert kinds_of(erased, KNOWN) == {head: tuple(erased)}


def test_an_unknown_label_names_the_nearest() -> None:
    with pytest.raises(EvalError, match="shows 'chruch'; the nearest is church"):
        kinds_of(["chruch"], KNOWN)


def test_labels_of_two_heads_are_sorted_by_their_kind() -> None:
    kinds = kinds_of(["flat", "church", "dog"], KNOWN)
    assert kinds == {"object": ("church", "dog"), "style": ("flat",)}
    with pytest.raises(EvalError, match="shows 'flatt'; the nearest is flat"):
        kinds_of(["church", "flatt"], KNOWN)


@settings(max_examples=30)
@given(data=st.data(), n=st.integers(1, 20))
def test_rates_agree_with_a_slow_count(data: st.DataObject, n: int) -> None:
    labels = st.fixed_dictionaries(
        {"object": st.sampled_from("abc"), "style": st.sampled_from("xyz")}
    )
    asked = data.draw(st.lists(labels, min_size=n, max_size=n))
    after = data.draw(st.lists(st.none() | labels, min_size=n, max_size=n))
    result = unlearning_rates(asked, after, erased=["a"], head="object", cross="style")
    counts = {"ua": [0, 0], "ira": [0, 0], "cra": [0, 0]}
    for wanted, got in zip(asked, after, strict=True):
        if got is None:
            continue
        if wanted["object"] == "a":
            counts["ua"][0] += got["object"] != "a"
            counts["ua"][1] += 1
        else:
            counts["ira"][0] += got["object"] == wanted["object"]
            counts["cra"][0] += got["style"] == wanted["style"]
            counts["ira"][1] += 1
            counts["cra"][1] += 1
    for name, (count, total) in counts.items():
        expected: Proportion | None = wilson(count, total) if total else None
        assert result.rates[name].after == expected


def test_a_rejected_picture_is_not_recognised_and_counted_apart() -> None:
    after = seen(f"{NOTHING}/{NOTHING}", "castle/flat", f"{NOTHING}/sketch", "dog/flat")
    before = seen("church/sketch", "church/flat", "dog/sketch", f"{NOTHING}/flat")
    result = unlearning_rates(
        ASKED,
        after,
        before,
        erased=["church"],
        head="object",
        cross="style",
        rejecting=("object", "style"),
    )
    assert rate(result, "ua") == (2, 2)  # one is a castle, the other is destroyed
    assert rate(result, "ira") == (1, 2)
    assert rate(result, "cra") == (2, 2)  # no object, but the sketch is seen
    counts = {
        name: (r.after and r.after.count, r.before and r.before.count)
        for name, r in result.rejected.items()
    }
    assert counts == {"ua": (1, 0), "ira": (1, 1), "cra": (0, 0)}
    church = result.classes[0]
    assert church.rejected is not None
    assert church.rejected.after == wilson(1, 2)


def test_heads_that_cannot_reject_have_no_share_of_rejected_pictures() -> None:
    result = unlearning_rates(
        ASKED, ASKED, erased=["church"], head="object", cross="style", rejecting=("style",)
    )
    assert list(result.rejected) == ["cra"]
    assert result.classes[0].rejected is None
    assert unlearning_rates(ASKED, ASKED, erased=["church"], head="object").rejected == {}


@given(
    st.lists(
        st.tuples(st.sampled_from(("church", "dog")), st.sampled_from(("church", "dog", NOTHING))),
        min_size=1,
    )
)
def test_what_is_rejected_is_a_part_of_what_is_not_recognised(
    pairs: list[tuple[str, str]],
) -> None:
    asked = [{"object": one} for one, _ in pairs]
    after = [{"object": other} for _, other in pairs]
    result = unlearning_rates(asked, after, erased=["church"], head="object", rejecting=("object",))
    for name, wanted in (("ua", "church"), ("ra", "dog")):
        of_it = [other for one, other in pairs if one == wanted]
        rejected = result.rejected[name].after
        assert (rejected.count if rejected else 0) == of_it.count(NOTHING)
        ua = result.rates["ua"].after
        if name == "ua" and ua and rejected:
            assert rejected.count <= ua.count
