"""The table of a benchmark: gaps, orders, pooling over seeds, and its three forms."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.results.table_lines import BASE, HOSTILE, line, share, table, values

from eval.rates.intervals import wilson
from pipelines.bench.cell import Cell
from pipelines.bench.making import _together
from pipelines.bench.search import _mean_gap
from pipelines.bench.sources import Sources
from pipelines.bench.tables.column import Value, pooled
from pipelines.bench.tables.columns import COLUMNS
from pipelines.bench.tables.forms import to_csv, to_json, to_markdown
from pipelines.bench.tables.gaps import DESTROYED, Gap, gaps_of, lacking_of
from pipelines.bench.tables.table import Line, Table

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


def of(*lines: Line) -> Table:
    there = {key for one in lines for key in one.values}
    return Table(lines=lines, columns=tuple(c for c in COLUMNS if c.key in there))


def test_a_row_that_lacks_a_share_is_not_ranked_by_the_others() -> None:
    base = BASE | {"neighbours": share(20)}
    assert lacking_of(values(20, 20), base, None) == ("neighbours",)
    assert lacking_of(values(20, 20), base, values(20, 20)) == ()
    assert lacking_of(values(20, 20) | {"neighbours": share(0)}, base, None) == ()
    why = "neighbours: the judge is not at hand"
    perfect = replace(line("esd", values(20, 20), failure=why), lacking=("neighbours",))
    made = of(line("base", base, kind="base"), perfect, line("uce", values(20, 12)))
    assert [one.row.name for one in made.of("church")] == ["base", "uce", "esd"]
    assert [(one.row.name, one.done, one.failed) for one in made.joint] == [
        ("uce", 1, 0),
        ("esd", 0, 1),
    ]
    text = to_markdown(made)
    assert "- esd, all failed in part: neighbours: the judge is not at hand\n" in text
    assert "- esd, all is not ranked: it has no neighbours\n" in text


def test_a_trial_that_failed_by_one_seed_has_no_gap() -> None:
    good, bad = line("esd", values(20, 19)), line("esd", values(20, 20), failure="erase: NaN")
    assert _mean_gap(of(good)) == pytest.approx(0.05)
    assert _mean_gap(of(good, bad)) is None


def test_what_shows_nothing_known_is_no_gap_of_a_trial_beside_a_retrained_model() -> None:
    gaps = (Gap("rejected", 0.6), Gap("ira", 0.1))
    destroys = replace(line("esd", values(20, 18)), gaps=gaps)
    assert _mean_gap(of(destroys)) == 0.6
    assert _mean_gap(of(destroys), DESTROYED) == 0.1


def test_a_spreadsheet_has_the_interval_of_a_distance_and_what_is_said_of_it() -> None:
    own = values(20, 20) | {
        "d3": Value(-2.5, -6.0, -1.25, said="remembers"),
        "attack-words": replace(share(0), said="undecided"),
        "attack-eta": Value(None, said="=no test"),
    }
    rows = csv.DictReader(io.StringIO(to_csv(of(line("uce", own)))))
    row = next(rows)
    assert [row[f"d3{end}"] for end in ("", "_low", "_high", "_said")] == [
        "-2.5", "-6.0000", "-1.2500", "remembers",
    ]  # fmt: skip
    assert (row["attack-words"], row["attack-words_said"]) == ("0", "undecided")
    assert row["attack-eta"] == "'=no test"


def test_cells_of_several_versions_are_told(tmp_path: Path) -> None:
    cells = tuple(
        Sources(
            Cell(key="0", kind="method", row="esd", concept="church", seed=0, versions=versions),
            tmp_path,
        )
        for versions in ({"torch": "2.12", "x": "1"}, {"torch": "2.13", "x": "1"})
    )
    assert _together({"x": "1"}, {"torch": "2.13", "x": "1"}) == {"torch": "2.13", "x": "1"}
    both = _together({"torch": "2.12"}, {"torch": "2.13"})  # a part that was added later
    assert _together(both, {"torch": "2.13"}) == both == {"torch": "2.12 and 2.13"}
    mixed = of(replace(line("esd", values(20, 20)), cells=cells))
    words = "The cells were made by several versions of torch: 2.12, 2.13"
    assert mixed.mixed == (words,)
    assert f"{words}.\n" in to_markdown(mixed)
