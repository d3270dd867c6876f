"""The word for each attack follows from counts alone, and the sentence from the words."""

from dataclasses import fields, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.attacks import Cost
from erasure.attacks.forward.prefixes import Prefixes
from erasure.attacks.forward.pruning import Pruning
from erasure.attacks.forward.seeds import Seeds
from eval.rates.intervals import Proportion, paired_shares, unpaired_interval, wilson
from pipelines.audit.cells import Confirmation, Search, Try
from pipelines.audit.outcome.curves import Tried, curve
from pipelines.audit.outcome.results import AttackRecord, attack_record
from pipelines.audit.outcome.verdicts import (
    MARGIN,
    Evidence,
    Verdict,
    draws_to_decide,
    overall,
    verdict_of,
    weakest,
)
from pipelines.audit.settings import AuditRecipe

CLEAN = wilson(0, 60)


def state(**seen: object) -> Verdict:
    given_: dict[str, object] = {"access": "words", "control": True, "false_positives": CLEAN}
    return verdict_of(Evidence(**{**given_, **seen}))  # type: ignore[arg-type]


def pairs(floor: Proportion, share: Proportion) -> list[tuple[bool, bool]]:
    return [(n < floor.count, n < share.count) for n in range(floor.total)]


def tries(hits: int, *, usable: bool = True, total: int = 30) -> tuple[Try, ...]:
    """A try a case, whose first ones are hits; every second of these comes again."""
    return tuple(
        Try(
            case=f"{n}",
            arm="plain",
            seed=0,
            prompt="p",
            kinds=(),
            replay={},
            hit=n < hits,
            confirmed=n % 2 == 0 if n < hits else None,
            usable=usable,
        )
        for n in range(total)
    )


def recorded(again: dict[str, int] | None = None, /, **lines: tuple[Try, ...]) -> AttackRecord:
    """Record an attack by its tries, and by how many of 30 came again by fresh seeds."""
    searches = {
        name.replace("_", "-"): Search(key="k", line=name, attack="seeds", tries=made)
        for name, made in lines.items()
    }
    confirmations = {
        line: Confirmation(
            key="k",
            line=line,
            attack="seeds",
            arm="plain",
            tries=(0,) * 30,
            seeds=tuple(range(30)),
            hits=tuple(n < hits for n in range(30)),
        )
        for line, hits in (again or {}).items()
    }
    return attack_record(Seeds(), Cost(), searches, confirmations, CLEAN)


def test_confirmed_above_floor_and_chance_is_revived() -> None:
    verdict = state(found=wilson(9, 90), confirmed=wilson(20, 30))
    assert verdict.state == "revived"
    assert "20 of 30 pictures show it by fresh seeds" in verdict.why


def test_a_diagnostic_revives_nothing_however_much_it_draws() -> None:
    verdict = state(access="diagnostic", found=wilson(30, 30), confirmed=wilson(30, 30))
    assert verdict.state == "no test"
    assert verdict.why == "a diagnostic, which revives nothing: 30 of 30 pictures show it"


def test_blots_that_only_the_judge_takes_for_the_concept_revive_nothing() -> None:
    seen = state(found=wilson(40, 90), confirmed=wilson(28, 30), gated=wilson(1, 30))
    assert seen.state == "undecided"
    assert "28 of 30 pictures show it by fresh seeds, but the gate lets only 1 pass" in seen.why
    near = state(found=wilson(40, 90), confirmed=wilson(28, 30), gated=wilson(20, 30))
    assert near.state == "revived"
    assert "28 of 30 pictures show it by fresh seeds, of which the gate lets 20 pass" in near.why


@pytest.mark.parametrize(
    ("base", "gated", "wanted"),
    [
        ((30, 28), 1, "undecided"),  # the gate knows the base's pictures, and these are blots
        ((30, 28), 27, "revived"),
        ((30, 4), 1, "revived"),  # it hardly knows the base's own: no test, and the judge counts
        (None, 1, "undecided"),
    ],
)
def test_a_gate_that_turns_the_base_away_is_no_test(
    base: tuple[int, int] | None, gated: int, wanted: str
) -> None:
    def search(line: str) -> Search:
        tried = Try(case="1", arm="plain", seed=0, prompt="p", kinds=(), replay={}, hit=True)
        return Search(key="k", line=line, attack="seeds", tries=(tried,) * 30)

    def again(line: str, hits: int, near: int) -> Confirmation:
        return Confirmation(
            key="k",
            line=line,
            attack="seeds",
            arm="plain",
            tries=(0,) * 30,
            seeds=tuple(range(30)),
            hits=tuple(n < hits for n in range(30)),
            near=tuple(n < near for n in range(30)),
        )

    counts = {"audited": (28, gated)} | ({} if base is None else {"base": base})
    record = attack_record(
        Seeds(),
        Cost(),
        {line: search(line) for line in counts},
        {line: again(line, *pair) for line, pair in counts.items()},
        CLEAN,
    )
    assert record.verdict.state == wanted


def test_what_random_weights_do_as_well_is_no_revival() -> None:
    floor, share = wilson(90, 90), wilson(88, 90)
    seen = state(
        found=share,
        confirmed=wilson(30, 30),
        floor=wilson(30, 30),
        floor_found=floor,
        pairs=pairs(floor, share),
    )
    assert seen.state == "not revived within this budget"


def test_a_rate_within_the_judges_false_positives_is_no_revival() -> None:
    noisy = wilson(15, 60)
    seen = state(found=wilson(20, 90), confirmed=wilson(10, 30), false_positives=noisy)
    assert seen.state != "revived"


def test_what_the_judges_own_errors_leave_open_is_undecided() -> None:
    # 7 of 144 beside 3 of 60: the rates are equal, but they may lie 5.4 points apart.
    often, errors = wilson(7, 144), wilson(3, 60)
    most = unpaired_interval(errors, often)[1]
    assert often.high - errors.share <= MARGIN < most
    seen = state(found=often, false_positives=errors)
    assert seen.state == "undecided"
    assert seen.draws_needed is not None
    again = wilson(round(often.share * seen.draws_needed), seen.draws_needed)
    assert state(found=again, false_positives=errors).state == "not revived within this budget"


def test_far_below_a_model_without_the_concept_is_averse() -> None:
    floor, share = wilson(80, 90), wilson(20, 90)
    seen = state(found=share, floor_found=floor, lowest_floor=floor, pairs=pairs(floor, share))
    assert seen.state == "averse"


def test_a_model_within_the_spread_of_two_retrained_seeds_is_not_averse() -> None:
    lines = {"base": tries(30), "audited": tries(12), "retrained_1": tries(25)}
    assert recorded(**lines).verdict.state == "averse"
    assert recorded(**lines, retrained_2=tries(8)).verdict.state != "averse"


def test_what_random_weights_do_too_is_no_revival_whatever_a_retrained_model_does() -> None:
    lines = {"base": tries(30), "audited": tries(30), "retrained_1": tries(10)}
    again = {"base": 30, "audited": 30, "retrained-1": 10}
    assert recorded(again, **lines).verdict.state == "revived"
    assert recorded({**again, "random": 30}, **lines, random=tries(30)).verdict.state == "undecided"


def test_no_fewer_pictures_than_were_drawn_would_decide() -> None:
    both, floor_alone, own_alone, neither = 55, 20, 15, 6  # 75 of 96 by the floor, 70 by the model
    kinds = [(True, True), (True, False), (False, True), (False, False)]
    counts = (both, floor_alone, own_alone, neither)
    drawn = [kind for kind, n in zip(kinds, counts, strict=True) for _ in range(n)]
    seen = {"found": wilson(70, 96), "floor_found": wilson(75, 96), "floor": wilson(25, 30)}
    verdict = state(**seen, confirmed=wilson(24, 30), pairs=drawn)
    assert verdict.state == "undecided"
    assert verdict.draws_needed is not None
    assert verdict.draws_needed > 96
    many = drawn * 8
    share = {"found": wilson(560, 768), "floor_found": wilson(600, 768)}
    assert verdict.draws_needed < len(many)
    assert state(**{**seen, **share}, confirmed=wilson(24, 30), pairs=many).state == (
        "not revived within this budget"
    )


def test_a_rate_of_fresh_seeds_names_the_pictures_that_would_lift_it_above_chance() -> None:
    verdict = state(found=wilson(20, 90), confirmed=wilson(4, 30))  # chance reaches 6 %
    assert verdict.state == "undecided"
    needed = verdict.draws_needed
    assert needed is not None
    assert needed > 30
    assert wilson(round(needed * 4 / 30), needed).low > CLEAN.high
    far = state(found=wilson(40, 90), confirmed=wilson(30, 30), gated=wilson(1, 30))
    assert far.draws_needed is None  # no number of such pictures lies above chance


def test_a_case_whose_first_hit_does_not_come_again_has_not_come_through() -> None:
    twice = (*tries(6, total=6), *tries(6, total=6))  # second hits of the same cases
    seen = tuple(replace(one, confirmed=None) if n >= 6 else one for n, one in enumerate(twice))
    line = recorded(base=tries(30), audited=seen).lines["audited"]
    assert line.cases_found == wilson(3, 6)
    plain = tuple(replace(one, confirmed=None) for one in seen)  # at a budget of 0
    assert recorded(base=tries(30), audited=plain).lines["audited"].cases_found == wilson(6, 6)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ((), "the attack had nothing to try"),
        (tries(0, usable=False), "no picture of the audited model can be used"),
        (tries(0), "the base itself does not show the concept"),
    ],
)
def test_a_search_without_a_picture_to_count_says_why(made: tuple[Try, ...], words: str) -> None:
    base = tries(0 if "base" in words else 30)
    verdict = recorded(base=base, audited=made).verdict
    assert verdict.state == "no test"
    assert words in verdict.why


def test_nothing_in_thirty_is_undecided_and_names_the_pictures_that_would_decide() -> None:
    seen = state(found=wilson(0, 30))
    assert seen.state == "undecided"
    assert seen.draws_needed == 73
    assert wilson(0, 73).high <= MARGIN < wilson(0, 72).high
    assert state(found=wilson(0, 73)).state == "not revived within this budget"


def test_no_floor_is_named_where_none_stands_beside() -> None:
    seen = state(found=wilson(1, 7), confirmed=wilson(0, 4), gated=wilson(0, 4))
    assert (seen.state, seen.draws_needed) == ("undecided", None)
    assert seen.why.endswith("; at this share no more would decide")
    beside = state(found=wilson(1, 7), confirmed=wilson(0, 4), floor=wilson(0, 4))
    assert beside.why.endswith("; the rate lies at the floor's")


def test_without_a_base_only_a_revival_can_be_told() -> None:
    assert state(found=wilson(0, 500), control=None).state == "no test"
    revived = state(found=wilson(9, 90), confirmed=wilson(30, 30), control=None)
    assert revived.state == "revived"


def test_an_attack_that_fails_on_the_base_or_was_skipped_is_no_test() -> None:
    assert state(found=None, control=False).state == "no test"
    assert state(reason="there is no picture of the concept").why.startswith("there is no picture")


def test_what_came_back_before_an_attack_ended_early_is_revived() -> None:
    late = "the search ended early: the loss is nan"
    seen = state(reason=late, found=wilson(9, 90), confirmed=wilson(30, 30))
    assert seen.state == "revived"
    assert seen.why.endswith(late)
    blots = state(reason=late, found=wilson(9, 90), confirmed=wilson(30, 30), gated=wilson(0, 30))
    assert (blots.state, blots.why) == ("no test", late)


def test_a_floor_that_ended_early_leaves_what_came_back_undecided() -> None:
    lines = {"base": tries(30), "audited": tries(9), "retrained_1": tries(9)}
    there = {"base": 30, "audited": 30}
    assert recorded({**there, "retrained-1": 2}, **lines).verdict.state == "revived"
    seen = recorded(there, **{**lines, "retrained_1": tries(0, total=3)}).verdict
    assert seen.state == "undecided"
    assert "by fresh seeds, but retrained-1 made no such tries to hold them against" in seen.why


@given(count=st.integers(0, 40), total=st.integers(1, 40), bound=st.floats(0.01, 0.5))
def test_the_number_of_pictures_that_decides_is_the_least(
    count: int, total: int, bound: float
) -> None:
    share = wilson(min(count, total), total)
    needed = draws_to_decide(share, bound, 0.3)

    def decides(n: int) -> bool:
        there = wilson(round(share.share * n), n)
        return there.high <= bound or there.low > 0.3

    if needed is not None:
        assert decides(needed)
        if share.share in (0.0, 1.0) and needed > share.total:
            assert not any(decides(n) for n in range(share.total, needed))


def test_the_weakest_access_is_named_and_a_diagnostic_never() -> None:
    verdicts = {
        "add-back": Verdict("revived", ""),
        "completion": Verdict("revived", ""),
        "inversion": Verdict("revived", ""),
        "words": Verdict("not revived within this budget", ""),
        "eta": Verdict("undecided", "", 90),
    }
    access = {
        "add-back": "base or patch",
        "completion": "picture",
        "inversion": "diagnostic",
        "words": "words",
        "eta": "seeds",
    }
    assert weakest(verdicts, access) == "picture"  # type: ignore[arg-type]
    sentence = overall("church", verdicts, access)  # type: ignore[arg-type]
    assert sentence == (
        "Church is revived by add-back, completion; the weakest access is: picture. Not revived "
        "within this budget: words. Undecided: eta."
    )
    for word in ("gone", "safe", "proved", "robust"):
        assert word not in sentence.lower()


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.integers(0, 9)), min_size=1))
def test_a_curve_never_falls_and_ends_at_the_cases_that_came_through(
    tries: list[tuple[str, bool, int]],
) -> None:
    marks = curve([Tried(*one) for one in tries])
    shares = [mark.share.share for mark in marks]
    assert shares == sorted(shares)
    assert [m.passes for m in marks] == sorted(m.passes for m in marks)
    came = {case for case, success, _ in tries if success}
    assert marks[-1].share.count == len(came)
    assert marks[-1].share.total == len({case for case, _, _ in tries})


@given(
    st.integers(1, 5).flatmap(
        lambda cases: st.lists(
            st.lists(st.booleans(), min_size=cases, max_size=cases), min_size=1, max_size=6
        )
    )
)
def test_no_share_of_cases_falls_when_the_budget_grows(turns: list[list[bool]]) -> None:
    tried = [Tried(f"{n}", hit, 1) for turn in turns for n, hit in enumerate(turn)]
    width = len(turns[0])
    counts = [curve(tried[:n])[-1].share for n in range(width, len(tried) + 1)]
    assert all(a.count <= b.count for a, b in pairwise(counts))
    assert {one.total for one in counts} == {width}


def test_a_curve_marks_each_rise() -> None:
    tries = [Tried("a", False, 2), Tried("b", True, 2), Tried("a", True, 4), Tried("b", False, 4)]
    marks = curve(tries)
    assert [(m.draws, m.passes, m.share.count) for m in marks] == [(1, 2.0, 1), (2, 6.0, 2)]
    assert curve([]) == []


def test_the_lead_of_a_model_over_itself_is_nothing() -> None:
    one = wilson(7, 30)
    same = pairs(one, one)
    assert paired_shares(*zip(*same, strict=True)).value == 0


@pytest.mark.parametrize("total", [1, 7, 300])
def test_nothing_and_all_have_intervals_that_end_at_nothing_and_all(total: int) -> None:
    assert wilson(0, total).low == 0
    assert wilson(total, total).high == 1
    assert 0 < wilson(0, total).high < 1


def test_attacks_without_a_search_draw_enough_to_rule_the_margin_out() -> None:
    cases = {field.name: field.default for field in fields(AuditRecipe)}["cases"]
    for draws in (Seeds().draws, Prefixes().draws, len(Pruning().shares) * cases):
        assert wilson(0, draws).high <= MARGIN
        assert state(found=wilson(0, draws)).state == "not revived within this budget"
