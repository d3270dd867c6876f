"""A whole benchmark with what is asked for by name: a search, distances, attacks, a second run."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.results.distanced import bright_judge, coarse_measure, write_models, write_pictures
from support.results.leaderboard import bench, quick_bench

from pipelines.distances import run as distances

pytestmark = pytest.mark.slow

TABLES = """
[attack]
budget = 4
cases = 2
confirm = 2
shown = 2
without = 2
damage = "none"
size = 16

[distance]
draws = 8
shown = 4
bins = 1
samples = 1
size = 16
"""


def table(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "table.json").read_text(encoding="utf-8"))
    return read


def values(out: Path) -> dict[str, dict[str, Any]]:
    return {line["row"]: line["values"] for line in table(out)["lines"]}


def test_distances_and_attacks_are_added_to_cells_that_are_done(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distances, "cell_judge", bright_judge)
    monkeypatch.setattr(distances, "measure_of", coarse_measure)
    models = write_models(tmp_path / "models")
    recipe = quick_bench(tmp_path, cache=str(cache))
    pictures = write_pictures(tmp_path / "pictures", 6, 1)
    tables = f"{TABLES}pictures = {str(pictures)!r}\n"  # the base draws no church to denoise
    recipe.write_text(recipe.read_text(encoding="utf-8") + tables, encoding="utf-8")
    out, only = tmp_path / "out", ("--only", "uce")
    assert bench(models["base"], recipe, out, *only).code == 0
    assert not [key for key in values(out)["uce"] if key.startswith(("d1", "attack"))]
    (cell,) = out.glob("cells/church/uce-*")
    assert not (cell / "run" / "model").exists()  # its patch makes it again
    drawn = {path: path.stat().st_mtime_ns for path in cell.glob("evaluation/images/*/*.png")}
    said = bench(
        models["base"], recipe, out, "--only", "uce,rece,retrained,twin", "--audit", "quick",
        "--retrained", f"church={models['retrained']}", "--twin", f"church={models['twin']}",
    )  # fmt: skip
    assert said.code == 0, said.err
    rows = values(out)
    assert {"base", "retrained", "twin", "random weights", "uce", "rece"} == set(rows)
    failures = [why for line in table(out)["lines"] for why in line["failures"]]
    assert failures == []
    assert {"d1", "d2", "d3", "d4", "d5", "d8"} <= set(rows["uce"])
    assert [key for key in rows["uce"] if key.startswith("attack-")]
    # What is measured beside stands in the rows of the models too.
    measured = json.loads((cell / "distance" / "distance.json").read_text(encoding="utf-8"))
    units = [e["readings"] for e in measured["entries"] if e["name"] == "D4" and e["headline"]]
    for row, role in (("base", "base"), ("random weights", "random")):
        assert rows[row]["d4"]["value"] == max(one[role]["units"] for one in units)
    assert {p: p.stat().st_mtime_ns for p in cell.glob("evaluation/images/*/*.png")} == drawn
    # What is no row's own was attacked once: the seconds that it took are the same.
    for name in ("base", "random", "retrained-1", "retrained-2"):
        first, second = out.glob(f"cells/church/*/audit/cells/{name}")
        searches = [path.name for path in first.iterdir() if "." not in path.stem]
        assert searches
        for search in searches:
            assert (first / search).read_bytes() == (second / search).read_bytes()
    # An attack beside the preset is added to what was attacked, and nothing is attacked again.
    audit = cell / "audit"
    searches = {p: p.stat().st_mtime_ns for p in audit.glob("cells/*/*.json")}
    assert bench(models["base"], recipe, out, *only, "--audit", "quick,soft-token").code == 0
    attacks = json.loads((audit / "audit.json").read_text(encoding="utf-8"))["attacks"]
    assert "soft-token" in [one["name"] for one in attacks]
    assert {path: path.stat().st_mtime_ns for path in searches} == searches
    # Beside a retrained model, shares are held against its own.
    line = next(one for one in table(out)["lines"] if one["row"] == "uce")
    own, wanted = rows["uce"]["ua"]["value"], rows["retrained"]["ua"]["value"]
    assert line["gaps"]["ua"] == pytest.approx(abs(own - wanted))


def test_a_search_sets_the_rows_by_another_concept(
    tiny_folder: Path, tmp_path: Path, cache: Path
) -> None:
    recipe = quick_bench(tmp_path, cache=str(cache), tune_on=["dog"])
    out = tmp_path / "out"
    words = ("--only", "uce", "--tune", 2, "--tune-seeds", 2)
    said = bench(tiny_folder, recipe, out, *words)
    assert said.code == 0, said.err
    counted = [line for line in said.err.splitlines() if line.startswith("cells: ")]
    assert [line.split()[1] for line in counted] == ["5", "2"]  # all trials once, and the table
    trials = json.loads((out / "tuned.json").read_text(encoding="utf-8"))
    assert [trial["row"] for trial in trials] == ["uce, all"] * 2
    assert sum(trial["chosen"] for trial in trials) == 1
    chosen = next(trial for trial in trials if trial["chosen"])
    line = next(one for one in table(out)["lines"] if one["row"] == "uce")
    assert line["settings"] == chosen["values"]
    cells = sorted(path.parent.name for path in out.glob("trials/dog/*/cell.json"))
    assert len(cells) == 1 + 2 * 2  # the base, and each trial by two seeds
    assert not list(out.glob("trials/church/*"))
    assert table(out)["protocol"]["search"] == {"trials": 2, "seeds": 2, "on": ["dog"]}
    when = {path: path.stat().st_mtime_ns for path in out.rglob("cell.json")}
    assert bench(tiny_folder, recipe, out, *words).code == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("cell.json")} == when
    bill = json.loads(bench(tiny_folder, recipe, out, *words, "--dry-run", "--json").out)
    assert {kind["row"]: kind["done"] for kind in bill["kinds"]} == {"base": 1, "uce, all": 1}
    assert (bill["trials"], bill["unnamed"]) == (0, [])


def test_all_methods_have_their_rows_on_the_embedded_checkpoint(tmp_path: Path) -> None:
    from erasure.methods import METHODS

    recipe = tmp_path / "all.toml"
    few = "\n".join(
        f"[methods.{name}]\nsteps = 1\n" + ("" if name == "mace" else "batch_size = 1\n")
        for name in METHODS
        if name not in ("uce", "rece", "speed")
    )
    head = 'steps = 2\nlimit = 4\nneighbours = 4\nmasks = ["all"]\n'
    drawn = "[erase.data.{}]\ndrawn = 2\n"
    body = "".join(map(drawn.format, ("forget", "retain", "anchors")))
    recipe.write_text(f"{head}{body}{few}", encoding="utf-8")
    said = bench(Path("demo"), recipe, tmp_path / "out", "--concepts", "church")
    assert said.code == 0, said.err
    lines = table(tmp_path / "out")["lines"]
    assert {line["row"] for line in lines} >= {*METHODS, "base", "sld-max"}
    assert [line for line in lines if line["state"] != "done"] == []
    assert [why for line in lines for why in line["failures"]] == []
    assert all(line["values"]["neighbours"]["total"] == 4 for line in lines)
