"""Base, retrained model, twin and random weights have what the cells of methods say of them."""

import csv
import io
import json
from pathlib import Path

import pytest
from support.results.asked import PROTOCOL, attack, cell, entry, place, table_with

from pipelines.bench.page.page import write_page
from pipelines.bench.rows import MODELS
from pipelines.bench.tables.forms import to_csv, to_json, to_markdown
from pipelines.bench.tables.table import Line, Table

FOUND = {"base": (90, 96), "retrained-1": (3, 96), "twin-2": (80, 96), "audited": (9, 96)}
DISTANCES = (
    entry("D2", audited=3.0, base=5.0, twin=6.0, random=30.0),
    entry("D8", audited=0.1, retrained=1.0, twin=1.4, random=1.1),
)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """The models, and two methods that were measured and attacked."""
    models = [cell(place(tmp_path, kind, kind)) for kind in MODELS]
    first, second = place(tmp_path, "uce"), place(tmp_path, "esd")
    again = {"base": (12, 30), "retrained-1": (2, 30), "audited": (20, 30)}
    other = again | {"base": (29, 30), "retrained-1": (1, 30)}
    return table_with(
        *models,
        cell(first, entries=DISTANCES, attacks=[attack("words", FOUND, again)]),
        cell(second, attacks=[attack("words", FOUND, other), attack("eta", FOUND)]),
    )


def of(table: Table, name: str) -> Line:
    return next(line for line in table.lines if line.row.name == name)


def test_models_have_the_distances_that_lie_in_the_cells_of_methods(
    table: Table,
) -> None:
    units = {line.row.name: line.values["d2"].value for line in table.lines if "d2" in line.values}
    assert units == {"base": 5.0, "twin": 6.0, "random weights": 30.0, "uce": 3.0}
    assert of(table, "base").values["d2"].high == 6.0
    assert of(table, "retrained").values["d8"].value == 1.0
    assert "d8" not in of(table, "base").values
    assert of(table, "base").values["ua"].total  # its own pictures stay


def test_of_an_attack_models_have_the_largest_share_that_was_drawn_again(
    table: Table,
) -> None:
    words = {line.row.name: line.values["attack-words"] for line in table.lines if line.cells}
    counts = {name: (one.count, one.total) for name, one in words.items()}
    assert counts == {
        "base": (29, 30),
        "retrained": (2, 30),
        "twin": (None, None),
        "uce": (20, 30),
        "esd": (20, 30),
    }
    assert (words["twin"].value, words["twin"].said) == (80 / 96, "in the search")
    assert words["base"].said == ""  # a verdict is of the audited model alone
    assert words["uce"].said == "revived"
    assert "attack-words" not in of(table, "random weights").values


def test_the_row_of_random_weights_stands_below_the_models_in_every_form(
    table: Table, tmp_path: Path
) -> None:
    models = ["base", "retrained", "twin", "random weights"]
    assert [line.row.name for line in table.of("church")][:4] == models
    assert [one.row.name for one in table.joint] == ["uce", "esd"]
    read = json.loads(to_json(table, PROTOCOL))
    line = next(one for one in read["lines"] if one["kind"] == "random")
    assert (line["row"], line["state"], line["worst"]) == ("random weights", "done", None)
    assert line["values"]["d2"]["value"] == 30.0
    rows = {row["row"]: row for row in csv.DictReader(io.StringIO(to_csv(table)))}
    assert (rows["random weights"]["d2"], rows["base"]["d2"], rows["twin"]["d8"]) == (
        "30", "5", "1.4",
    )  # fmt: skip
    row = next(one for one in to_markdown(table).splitlines() if "`random weights`" in one)
    assert "| 30 (29 to 31) |" in row
    page = write_page(table, PROTOCOL, tmp_path).read_text(encoding="utf-8")
    row = page.partition('data-name="random weights"')[2].partition("</tr>")[0]
    assert ' data-value="30.0"' in row


def test_values_over_seeds_are_pooled_and_a_seed_counts_once(tmp_path: Path) -> None:
    made = [cell(place(tmp_path, "base", "base"))]
    for name in ("uce", "esd"):
        for seed, units in ((0, 4.0), (1, 8.0)):
            at = place(tmp_path, name, seed=seed)
            again = {"base": (10, 10), "audited": (0, 10)}
            attacks = [attack("words", FOUND, again)]
            entries = [entry("D2", audited=1.0, base=units)]
            made.append(cell(at, entries=entries, attacks=attacks))
    values = of(table_with(*made), "base").values
    assert (values["d2"].value, values["d2"].low, values["d2"].high) == (6.0, 4.0, 8.0)
    assert (values["attack-words"].count, values["attack-words"].total) == (20, 20)


def test_where_nothing_was_measured_there_is_no_such_row_and_no_such_value(
    tmp_path: Path,
) -> None:
    places = place(tmp_path, "base", "base"), place(tmp_path, "uce")
    table = table_with(*map(cell, places))
    assert [line.row.name for line in table.lines] == ["base", "uce"]
    assert "d2" not in of(table, "base").values


def test_a_base_that_is_not_made_stays_missing(tmp_path: Path) -> None:
    base, uce = place(tmp_path, "base", "base"), place(tmp_path, "uce")
    table = table_with((base, None), cell(uce, entries=DISTANCES))
    assert of(table, "base").state == "missing"
    assert of(table, "random weights").state == "done"
