"""The table of a benchmark: gaps, orders, pooling over seeds, and its three forms."""

import csv
import io
import json

import pytest
from support.results.table_lines import BASE, HOSTILE, line, share, table, values

from eval.rates.intervals import wilson
from pipelines.bench.tables.column import Value, pooled
from pipelines.bench.tables.columns import COLUMNS
from pipelines.bench.tables.forms import to_csv, to_json, to_markdown
from pipelines.bench.tables.gaps import gaps_of

PROTOCOL = {"base": {"name": "demo", "hashes": {"unet": "0" * 64}}}
UA, MOVED = (next(c for c in COLUMNS if c.key == key) for key in ("ua", "moved"))


def names(concept: str) -> list[str]:
    return [one.row.label for one in table().of(concept)]


def test_the_worst_gap_is_the_largest_and_no_other_gap_mends_it() -> None:
    gaps = gaps_of(values(20, 12), BASE, None)
    assert [(gap.column, pytest.approx(gap.size)) for gap in gaps] == [
        ("ira", 0.4),
        ("ua", 0.0),
        ("cra", 0.0),
    ]
    destroyed = {**values(20, 20), "rejected": share(15)}
    base = {**BASE, "rejected": share(1)}
    assert gaps_of(destroyed, base, None)[0].column == "rejected"
    assert gaps_of(destroyed, base, None)[0].size == pytest.approx(0.7)


def test_a_share_above_the_base_s_is_no_gap_of_damage() -> None:
    base = values(0, 18)
    assert {gap.column: gap.size for gap in gaps_of(values(20, 20), base, None)}["ira"] == 0.0


def test_beside_a_retrained_model_every_share_should_be_as_its_own() -> None:
    retrained = values(18, 20)
    gaps = gaps_of(values(20, 20), BASE, retrained)
    assert gaps[0].column == "ua"
    assert gaps[0].size == pytest.approx(0.1)  # to forget more is a gap too


def test_rows_stand_by_their_worst_gap_and_what_is_not_done_stands_last() -> None:
    assert names("church") == [
        "base", "esd, all", "uce, all", "esd, salient", "sld-max", "broken, all", "mace, all",
    ]  # fmt: skip


def test_the_joint_order_is_by_the_worst_concept_and_puts_what_lacks_one_behind() -> None:
    joint = [(one.row.label, one.concept, one.done) for one in table().joint]
    assert joint == [
        ("esd, all", "sketch", 2),
        ("uce, all", "sketch", 2),  # all erased, half of the rest destroyed
        ("sld-max", "sketch", 2),
        ("esd, salient", "church", 1),
        ("broken, all", "", 0),
        ("mace, all", "", 0),
    ]
    assert {one.row.label: one.failed for one in table().joint if one.failed} == {"broken, all": 2}


def test_shares_of_several_seeds_are_pooled_over_all_pictures() -> None:
    made = pooled(UA, [share(10), share(20)])
    assert made == Value.of_share(wilson(30, 40))
    assert pooled(MOVED, [Value(10.0), Value(30.0)]) == Value(20.0, 10.0, 30.0)
    assert pooled(MOVED, []) is None


def test_json_holds_every_figure_and_what_is_missing() -> None:
    read = json.loads(to_json(table(), PROTOCOL))
    assert read["protocol"] == PROTOCOL
    assert read["missing"] == ["church: mace, all", "sketch: esd, salient", "sketch: mace, all"]
    first = next(one for one in read["lines"] if one["row"] == "uce")
    assert first["values"]["ua"]["count"] == 20
    assert first["worst"] == {"column": "ira", "size": pytest.approx(0.1)}
    assert {column["key"] for column in read["columns"]} >= {"ua", "ira", "cra", "passes"}


def test_no_text_of_a_file_leaves_its_cell() -> None:
    text = to_markdown(table())
    assert "<img" not in text
    rows = [row for row in text.splitlines() if row.startswith("| `")]
    widths = {row.count("|") for row in rows}
    assert len(widths) == 2  # the concepts' tables and the joint one
    assert "failed: &lt;img src=x onerror=alert(1)> / =cmd" in text
    church, sketch, _ = text.split("### ")[1:]
    assert "Not made yet: mace, all." in church
    assert "Not made yet: esd, salient; mace, all." in sketch


@pytest.mark.parametrize("sign", ["=", "\N{FULLWIDTH EQUALS SIGN}", "@"])
def test_a_spreadsheet_takes_no_cell_for_a_formula(sign: str) -> None:
    made = table()
    formula = line("evil", None, failure=f"{sign}cmd|' /C calc'!A0")
    evil = type(made)(lines=(*made.lines, formula), columns=made.columns)
    rows = list(csv.DictReader(io.StringIO(to_csv(evil))))
    assert len({len(row) for row in rows}) == 1
    refused = next(row for row in rows if row["row"] == "evil")
    assert refused["failure"].startswith(f"'{sign}cmd")
    uce = next(row for row in rows if row["row"] == "uce")
    assert (uce["ua_count"], uce["ua_total"], uce["worst_of"]) == ("20", "20", "ira")
    assert HOSTILE in next(row for row in rows if row["row"] == "broken")["failure"]
