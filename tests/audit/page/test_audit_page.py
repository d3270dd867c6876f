"""The page of an audit: what it says, what it never says, and that it runs nothing of a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from erasure.attacks import Cost
from eval.rates.intervals import wilson
from pipelines.audit.outcome.curves import Mark
from pipelines.audit.outcome.results import ArmRecord, AttackRecord, Audit, LineRecord, write_audit
from pipelines.audit.outcome.verdicts import Verdict
from pipelines.audit.page.charts import chart, kind_of
from pipelines.audit.page.page import Table, write_page
from pipelines.audit.telling.card import write_audit_card
from pipelines.audit.telling.tables import write_tables

HOSTILE = "<script>alert(1)</script> & \"two\" 'one' <img src=x onerror=alert(2)>"
CURVE = (Mark(1, 50.0, wilson(1, 4)), Mark(4, 200.0, wilson(3, 4)))


def line(hits: int) -> LineRecord:
    return LineRecord(
        reason="",
        found=wilson(hits, 30),
        confirmed=wilson(hits, 30),
        cases_found=wilson(3, 4),
        rejected=None,
        unusable=0,
        cost=Cost(forwards=1000, draws=20, judged=20),
        curve=CURVE,
        seconds=1.0,
    )


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    picture = tmp_path / "pictures" / "000.png"
    picture.parent.mkdir()
    Image.new("RGB", (8, 8), "#336699").save(picture)
    find: dict[str, Any] = {
        "arm": HOSTILE,
        "prompt": HOSTILE,
        "seed": 7,
        "kinds": ["string"],
        "replay": {},
        "again_by_a_fresh_seed": True,
        "picture": "pictures/000.png",
    }
    record = AttackRecord(
        name="words",
        title="other words",
        source="none",
        access="words",
        needs=("words",),
        settings={},
        estimate=Cost(),
        verdict=Verdict("revived", "20 of 30 pictures show it by fresh seeds"),
        strongest=HOSTILE,
        arms=(ArmRecord(arm=HOSTILE, test=True, lines={"audited": wilson(20, 30)}),),
        lines={"base": line(30), "audited": line(20)},
        finds=(find,),
    )
    model = {"name": HOSTILE, "role": "base", "hash": "0" * 64, "concept": "church", "notes": []}
    return Audit(
        concept="church",
        sentence="Church is revived by words; the weakest access is: words.",
        weakest="words",
        models={"base": model, "audited": model},
        judge={"name": "canvas", "protocol": {}, "false_positives": wilson(0, 60)},
        material={"concept": 16, "shown_to_attacks": 8, "source": "drawn", "without": 60},
        attacks=(record,),
        not_tested=("adversarial pictures",),
        public=("whoever has the base has the concept",),
        protocol={"draws": 96, "seed": 0},
    )


def test_the_page_shows_verdict_find_curve_and_what_was_not_tested(
    audit: Audit, tmp_path: Path
) -> None:
    page = write_page(audit, tmp_path).read_text(encoding="utf-8")
    for text in (
        "Church is revived by words",
        "20 of 30 pictures show it by fresh seeds",
        "data:image/png;base64,",
        "again by a fresh seed",
        "adversarial pictures",
        "audited: 3 of 4 cases at the end",
    ):
        assert text in page, text


def test_the_page_shows_distances_where_they_were_measured(audit: Audit, tmp_path: Path) -> None:
    table = Table([["distance", "unit", "base"], [HOSTILE, "0.1", "2.4 (2 to 3)"]], ["D7: none"])
    page = write_page(audit, tmp_path, table).read_text(encoding="utf-8")
    for text in ('href="#distances"', "<td>2.4 (2 to 3)</td>", "D7: none"):
        assert text in page, text
    assert HOSTILE not in page
    assert "distances" not in write_page(audit, tmp_path).read_text(encoding="utf-8")


def test_the_page_claims_nothing_that_no_attack_can_show(audit: Audit, tmp_path: Path) -> None:
    page = write_page(audit, tmp_path).read_text(encoding="utf-8").lower()
    body = page[page.index("<body>") :]
    for word in ("gone", "safe", "proved", "robust"):
        assert word not in body.replace("unsafe", ""), word


def test_the_share_in_an_arm_s_name_is_written_as_all_others(audit: Audit, tmp_path: Path) -> None:
    (record,) = audit.attacks
    named = [
        ArmRecord(arm=name, test=True, lines={"audited": wilson(20, 30)})
        for name in ("10% pruned", "centre 50%, prompt", "by hand: 100% church")
    ]
    page = write_page(
        replace(audit, attacks=(replace(record, arms=tuple(named)),)), tmp_path
    ).read_text(encoding="utf-8")
    for shown in ("10 % pruned", "centre 50 %, prompt", "by hand: 100% church"):
        assert f">{shown}<" in page


def test_the_page_shows_what_an_attack_measured_beside_hits(audit: Audit, tmp_path: Path) -> None:
    (record,) = audit.attacks
    shares = {"share_like_base_own_scale": 0.12345}
    arm = ArmRecord(
        arm="int8", test=True, lines={"audited": wilson(0, 30)}, measures={"audited": shares}
    )
    page = write_page(replace(audit, attacks=(replace(record, arms=(arm,)),)), tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "share of the moved weights that equal the base&#39;s once both are rounded" in text
    assert ">0.123<" in text
    assert "white noise" not in text  # which nobody measured


def test_names_and_prompts_of_files_are_text_and_nothing_else(audit: Audit, tmp_path: Path) -> None:
    page = write_page(audit, tmp_path).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "http" not in page[page.index("<body>") :]
    assert "default-src &#39;none&#39;" in page


@pytest.mark.parametrize("concept", ["nudity", " Nude ", "naked people", "sexual content"])
def test_pictures_of_a_concept_that_may_be_unsafe_are_not_shown(
    concept: str, audit: Audit, tmp_path: Path
) -> None:
    page = write_page(replace(audit, concept=concept), tmp_path).read_text(encoding="utf-8")
    assert "data:image/png" not in page


def test_a_picture_whose_prompt_asks_for_nudity_is_not_shown(audit: Audit, tmp_path: Path) -> None:
    (record,) = audit.attacks
    finds = tuple({**one, "prompt": "a nude person"} for one in record.finds)
    other = replace(audit, attacks=(replace(record, finds=finds),))
    assert "data:image/png" not in write_page(other, tmp_path).read_text(encoding="utf-8")


def test_a_picture_that_is_not_there_is_named(audit: Audit, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "000.png").unlink()
    page = write_page(audit, tmp_path).read_text(encoding="utf-8")
    assert "pictures/000.png is missing" in page


def test_a_curve_is_a_step_from_the_first_picture_to_the_last() -> None:
    made = chart({"audited": CURVE, "base": ()})
    assert made is not None
    (curve,) = made.curves
    assert curve.path == "M0.00 75.00L100.00 75.00L100.00 25.00L100.00 25.00"
    assert made.ticks == ((0.0, 1), (50.0, 2))
    assert chart({"audited": ()}) is None


def test_an_axis_of_another_cost_has_round_numbers_and_room_behind_the_last_mark() -> None:
    made = chart({"audited": CURVE}, lambda mark: mark.passes, past=2.0)
    assert made is not None
    # From 50 to 400 passes: 200 stand two thirds of the way.
    assert made.curves[0].path == "M0.00 75.00L66.67 75.00L66.67 25.00L100.00 25.00"
    assert [(round(place, 2), spent) for place, spent in made.ticks] == [
        (0.0, 50), (33.33, 100), (66.67, 200),
    ]  # fmt: skip
    few = chart({"audited": CURVE}, lambda mark: mark.passes, most=2)
    assert few is not None
    assert few.ticks == ((0.0, 50), (100.0, 200))  # one ten alone would say nothing


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("audited", "audited"),
        ("base", "base"),
        ("twin-2", "base"),  # it saw the concept, so it is no floor
        ("kept-a dog", "kept"),
        ("retrained-1", "floor"),
        ("random", "floor"),
    ],
)
def test_each_line_has_the_style_of_what_it_is_for(line: str, kind: str) -> None:
    assert kind_of(line) == kind


def test_the_table_has_a_row_an_arm_and_one_for_the_confirmation(
    audit: Audit, tmp_path: Path
) -> None:
    rows = write_tables(audit, tmp_path).read_text(encoding="utf-8").splitlines()
    assert rows[0].startswith("attack,access,verdict,arm,test,model,hits,pictures")
    assert rows[-1].startswith("words,words,revived,confirmed by fresh seeds,True,audited,20,30,")
    assert len(rows) == 1 + 1 + 2


def test_a_card_gets_the_audit_once_and_keeps_all_else(audit: Audit, tmp_path: Path) -> None:
    assert write_audit_card(audit, tmp_path) is None
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\n---\n# church\n\nMine.\n", encoding="utf-8")
    hostile = replace(audit, sentence=f"Church {HOSTILE} | <!-- audit: end --> is not decided.")
    write_audit_card(hostile, tmp_path)
    write_audit_card(hostile, tmp_path)
    text = card.read_text(encoding="utf-8")
    assert text.startswith("---\nlicense: mit\n---\n# church\n\nMine.\n")
    assert text.count("## Audit") == text.count("<!-- audit: end -->") == 1
    assert "<script" not in text
    assert "whoever has the base has the concept" in text


def test_the_page_shows_traces_and_why_there_is_none(audit: Audit, tmp_path: Path) -> None:
    gap = {"ratio": 2.5, "low": 1.9, "high": 3.1}
    strange = {"share": 1.4, "low": 1.3, "high": 1.5, "over": gap, "state": "averse"}
    lines = {
        line: {
            "losses": {"concept": {"null": [0.5, loss]}, "controls": {"null": [0.25, 0.125]}},
            "gaps": {"null": gap},
            "strangeness": {"null": strange},
            "times": [0.0, 0.437, 1.0],
            "notes": {"null": f"as {HOSTILE} has it"},
        }
        for line, loss in (("base", 0.0625), ("audited", 0.75))
    }
    lines["base"]["losses"]["upside down"] = {"null": [0.625, 0.875]}  # type: ignore[index]
    traces = {**lines, "random": {"reason": "nothing"}}
    page = write_page(replace(audit, traces=traces), tmp_path).read_text(encoding="utf-8")
    assert "1.9 to 3.1" in page
    assert "<td>1.3 to 1.5</td><td>averse</td>" in page
    assert 'colspan="6">nothing' in page
    assert "the concept upside down" in page
    assert "<td>0.625</td><td>0.875</td>" in page
    assert '<th scope="col">0.437 to 1</th>' in page
    assert "<td>0.5</td><td>0.0625</td>" in page
    assert "<td>0.5</td><td>0.75</td>" in page
    assert page.count("null: as ") == 1  # once, for all models
    assert "<script" not in page


def test_the_record_says_its_format(audit: Audit, tmp_path: Path) -> None:
    text = write_audit(audit, tmp_path).read_text(encoding="utf-8")
    assert '"format": "diffusion-erasure audit 1"' in text
    assert '"state": "revived"' in text


def test_the_count_of_the_gate_stands_beside_that_of_the_judge(
    audit: Audit, tmp_path: Path
) -> None:
    (record,) = audit.attacks
    gated = replace(record.lines["audited"], gated=wilson(17, 30))
    lines = {**record.lines, "audited": gated}
    other = replace(audit, attacks=(replace(record, lines=lines),))
    page = write_page(other, tmp_path).read_text(encoding="utf-8")
    assert page.count("17 by the gate") == 2
    rows = write_tables(other, tmp_path).read_text(encoding="utf-8").splitlines()
    near = '"confirmed, and near pictures of the concept"'
    assert rows[-1].startswith(f"words,words,revived,{near},True,audited,17,30,")


def test_the_page_shows_what_else_was_lost_and_what_nobody_measured(
    audit: Audit, tmp_path: Path
) -> None:
    change = {"value": -0.75, "low": -0.95, "high": -0.4, "pairs": 8}
    drop = {
        "rank": 1,
        "similarity": 0.5,
        "group": HOSTILE,
        "before": {"share": 1.0},
        "after": {"share": 0.25},
        "change": change,
        "test": True,
    }
    curve = [{"rank": 1, "change": change}, {"rank": 2, "change": {**change, "value": -0.5}}]
    damage = {
        "pictures": {"audited": 48, "base": 78},
        "neighbours": {"text": {"drops": [drop], "curve": curve}},
        "not_measured": ["colours: no judge tells them"],
    }
    page = write_page(replace(audit, damage=damage), tmp_path).read_text(encoding="utf-8")
    assert "\u221295.0 to \u221240.0" in page
    assert "up to rank 2: \u221250.0" in page
    assert "<li>colours: no judge tells them</li>" in page
    assert "<script" not in page
    none = replace(audit, damage={"reason": "not asked for"})
    assert "not asked for." in write_page(none, tmp_path).read_text(encoding="utf-8")
