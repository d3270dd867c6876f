"""A method of the user's own as a row of the benchmark, by `--add mine.py:Method`."""

import json
from pathlib import Path

from support.results.leaderboard import WORKING, bench, quick_bench


def test_an_own_method_is_a_row_with_values(tiny_folder: Path, tmp_path: Path, cache: Path) -> None:
    recipe = quick_bench(tmp_path, ("mine",), cache=str(cache))
    own = tmp_path / "mine.py"
    own.write_text(WORKING, encoding="utf-8")
    out, added = tmp_path / "out", ("--add", f"{own}:Mine", "--only", "mine")
    said = bench(tiny_folder, recipe, out, *added)
    assert said.code == 0, said.err
    table = json.loads((out / "table.json").read_text(encoding="utf-8"))
    base, row = table["lines"]
    assert (base["row"], row["row"], row["mask"], row["state"]) == ("base", "mine", "all", "done")
    assert row["failures"] == []
    values = row["values"]
    for key in ("ua", "ira", "cra"):
        assert values[key]["total"] == 2
    assert all(values[key]["value"] > 0 for key in ("moved", "passes", "drawn", "exported"))
    assert row["worst"]["size"] == max(row["gaps"].values())
    assert [one["row"] for one in table["joint"]] == ["mine"]
    assert "steps = 2" in row["recipes"][0]
    assert str(tmp_path) not in row["recipes"][0]
    page = (out / "bench.html").read_text(encoding="utf-8")
    assert 'data-name="mine, all"' in page
    assert "<dt>methods.mine.steps</dt><dd>2</dd>" in page
    # Other code is another row's: its cell is made, and the first is not shown for it.
    own.write_text(WORKING.replace("0.5", "0.25"), encoding="utf-8")
    said = bench(tiny_folder, recipe, out, *added, "--tables")
    assert said.code == 0, said.err
    assert json.loads((out / "table.json").read_text())["missing"] == ["church: mine, all"]
