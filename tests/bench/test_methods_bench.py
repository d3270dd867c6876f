"""`erasure bench` from start to end on a tiny model: cells, table, cuts, failures, refusals."""

import errno
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.console import erasure
from support.refusals import assert_told
from support.results.distanced import nudge
from support.results.leaderboard import OWN, bench, quick_bench

from erasure.errors import CheckpointError, InUseError
from pipelines.bench import making, run
from pipelines.bench.cell import Cell, Place, read_cell
from pipelines.bench.protocol import begin
from pipelines.bench.run import prepare, run_bench, table_now
from pipelines.bench.settings import bench_recipe
from pipelines.configs.recipe_files import load_toml
from pipelines.process.progress import Reporter

ONLY = ("--only", "uce,esd,negative-prompt")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    return quick_bench(folder, ("esd",), cache=str(cache))


@pytest.fixture(scope="module")
def whole(tiny_folder: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished benchmark; do not write into it."""
    out = tmp_path_factory.mktemp("whole") / "out"
    said = bench(tiny_folder, recipe, out, *ONLY)
    assert said.code == 0, said.err
    return out


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "out")
    return tmp_path / "out"


def table(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "table.json").read_text(encoding="utf-8"))
    return read


def lines(out: Path) -> dict[str, dict[str, Any]]:
    return {line["row"]: line for line in table(out)["lines"]}


def cells(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("cells/*/*/cell.json")}


def test_every_row_has_its_figures_and_their_sources(whole: Path) -> None:
    rows = lines(whole)
    assert next(iter(rows)) == "base"
    assert set(rows) == {"base", "negative-prompt", "uce", "esd"}
    for row in rows.values():
        assert row["state"] == "done"
        assert row["values"]["ua"]["total"] == 2
        assert row["values"]["ira"]["total"] == row["values"]["cra"]["total"] == 2
    esd, uce = rows["esd"]["values"], rows["uce"]["values"]
    assert esd["passes"]["value"] > 0 == uce["passes"]["value"]
    for values in (esd, uce):
        assert values["moved"]["value"] > 0
        assert values["exported"]["value"] == next(
            path.stat().st_size
            for path in whole.glob("cells/church/*/edit.patch")
            if path.stat().st_size == values["exported"]["value"]
        )
        assert values["peak"]["value"] > 10**7
        assert values["processor"]["value"] > 0
    assert "moved" not in rows["base"]["values"]
    assert "moved" not in rows["negative-prompt"]["values"]
    assert "steps = 2" in rows["esd"]["recipes"][0]


def test_the_protocol_names_the_base_and_the_versions(whole: Path, tiny_folder: Path) -> None:
    protocol = table(whole)["protocol"]
    assert protocol["base"]["hashes"]["unet"]
    assert set(protocol["versions"]) >= {"torch", "diffusion-erasure"}
    assert str(tiny_folder.parent) not in json.dumps(table(whole))


def test_rows_stand_in_the_order_of_their_worst_gap(whole: Path) -> None:
    ranked = [line for line in table(whole)["lines"] if line["kind"] not in ("base",)]
    worst = [line["worst"]["size"] for line in ranked]
    assert worst == sorted(worst)
    for line in ranked:
        assert line["worst"]["size"] == pytest.approx(max(line["gaps"].values()), abs=1e-6)


def test_the_same_command_makes_nothing_again(
    copied: Path, tiny_folder: Path, recipe: Path
) -> None:
    before = cells(copied)
    assert len(before) == 4
    said = bench(tiny_folder, recipe, copied, *ONLY, "--json")
    assert said.code == 0, said.err
    assert cells(copied) == before
    assert json.loads(said.out) == table(copied)


@pytest.mark.slow
def test_a_cut_loses_the_cell_in_work_alone(
    copied: Path, tiny_folder: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_table = lines(copied)
    (cut,) = copied.glob("cells/church/esd-*/cell.json")
    cut.unlink()
    before = cells(copied)

    def interrupted(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(making, "run_evaluation", interrupted)
        said = bench(tiny_folder, recipe, copied, *ONLY)
    assert said.code == 1
    assert "the same command" in said.err
    assert cells(copied) == before
    assert lines(copied) == whole_table  # the table is as it was
    assert bench(tiny_folder, recipe, copied, *ONLY).code == 0
    after = cells(copied)
    assert {name: when for name, when in after.items() if name in before} == before
    assert len(after) == 4
    for name, row in lines(copied).items():
        assert row["values"]["ua"] == whole_table[name]["values"]["ua"]


@pytest.mark.slow
def test_a_damaged_cell_counts_as_not_made_and_no_other_does(
    copied: Path, tiny_folder: Path, recipe: Path
) -> None:
    (torn,) = copied.glob("cells/church/uce-*/cell.json")
    torn.write_text(torn.read_text(encoding="utf-8")[:99], encoding="utf-8")
    tables = {"model": str(tiny_folder), "only": ["uce", "esd"]}
    made = prepare(bench_recipe(tables, load_toml(recipe)), copied)
    assert table_now(made).missing == ["church: uce, all"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "part", "columns"),
    [
        ("evaluation/results.json", "evaluate", {"ua", "ira", "cra"}),
        ("erasure.json", "erase", {"moved", "passes", "drawn"}),
    ],
)
def test_a_damaged_file_of_a_cell_is_said_and_made_again(
    file: str,
    part: str,
    columns: set[str],
    copied: Path,
    tiny_folder: Path,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (cell,) = copied.glob("cells/church/uce-*")
    (cell / file).write_text("{half", encoding="utf-8")
    assert bench(tiny_folder, recipe, copied, *ONLY, "--tables").code == 0
    row = lines(copied)["uce"]
    assert row["failures"] == [
        f"{part}: {file} of {cell.name} is missing or damaged, so its columns are empty; the same "
        "command makes it again"
    ]
    assert not columns & row["values"].keys()
    made: list[str] = []

    def make(maker: making.Maker, place: Place) -> Cell:
        made.append(place.row.label)
        there = read_cell(place)
        assert there is not None
        return there

    monkeypatch.setattr(making.Maker, "make", make)
    assert bench(tiny_folder, recipe, copied, *ONLY).code == 0
    assert made == ["uce, all"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--tables", "--retry"), "--tables makes no cell and --retry makes some again"),
        (("--dry-run", "--tables"), "only says what the cells take; leave it or --tables out"),
        (("--dry-run", "--retry"), "leave it or --retry out"),
    ],
)
def test_what_makes_no_cell_takes_no_option_of_another_kind(
    options: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    said = erasure("bench", "demo", "--out", tmp_path / "out", *options)
    assert said.code == 2
    assert words in said.err
    assert not (tmp_path / "out").exists()


def test_finished_cells_that_no_row_names_are_counted(
    copied: Path, tiny_folder: Path, recipe: Path
) -> None:
    (other,) = (path.parent for path in copied.glob("cells/church/esd-*/cell.json"))
    only = ("--only", "uce,negative-prompt")
    words = f"without 1 finished cell that no row of this command names (church/{other.name})"
    said = bench(tiny_folder, recipe, copied, *only, "--dry-run")
    assert said.code == 0, said.err
    assert words in said.out
    said = bench(tiny_folder, recipe, copied, *only, "--tables")
    assert words in said.out
    assert table(copied)["unnamed"] == [f"church/{other.name}"]
    assert words in (copied / "bench.html").read_text(encoding="utf-8")
    said = bench(tiny_folder, recipe, copied, *ONLY, "--tables")
    assert "no row of this command" not in said.out
    assert table(copied)["unnamed"] == []


def test_what_is_in_the_way_of_a_cell_is_not_taken_for_another_process(
    copied: Path, tiny_folder: Path, recipe: Path
) -> None:
    shutil.rmtree(copied / "cells" / "church")
    (copied / "cells" / "church").touch()
    said = bench(tiny_folder, recipe, copied, *ONLY)
    assert_told(said, 2, "church is a file; give the path of a folder")


def test_a_full_disk_ends_the_run_and_keeps_the_cells(
    copied: Path, tiny_folder: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cut,) = copied.glob("cells/church/esd-*/cell.json")
    cut.unlink()
    before = cells(copied)

    def full(*args: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(making, "run_erasure", full)
    assert_told(bench(tiny_folder, recipe, copied, *ONLY), 1, "disk is full")
    assert cells(copied) == before


def test_a_method_that_breaks_is_a_row_that_says_so(
    copied: Path, tiny_folder: Path, recipe: Path, tmp_path: Path
) -> None:
    own = tmp_path / "mine.py"
    own.write_text(OWN, encoding="utf-8")
    added = ("--add", f"{own}:Broken", "--only", "uce,broken")
    said = bench(tiny_folder, recipe, copied, *added)
    assert said.code == 0, said.err
    row = lines(copied)["broken"]
    assert row["state"] == "failed"
    assert row["failures"] == ["erase: it raised TypeError: <b>this</b> method | is broken"]
    assert lines(copied)["uce"]["state"] == "done"
    text = (copied / "table.md").read_text(encoding="utf-8")
    assert "&lt;b>this&lt;/b> method / is broken" in text
    traces = list(copied.glob("cells/church/broken-*/erase.error.txt"))
    assert "TypeError" in traces[0].read_text(encoding="utf-8")
    before = cells(copied)
    assert bench(tiny_folder, recipe, copied, *added).code == 0
    assert cells(copied) == before  # it would break again
    assert bench(tiny_folder, recipe, copied, *added, "--retry").code == 0
    changed = {name for name, when in cells(copied).items() if when != before[name]}
    assert [name.split("-")[0] for name in changed] == ["broken"]


def test_missing_cells_are_shown_as_missing(
    copied: Path, tiny_folder: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {"model": str(tiny_folder), "only": ["uce"], "seeds": "0-1"}
    made = prepare(bench_recipe(tables, load_toml(recipe)), copied)

    class Stop(Exception):
        """Ends the run at the first cell that would be made."""

    def stop(*args: object) -> None:
        raise Stop

    monkeypatch.setattr(making.Maker, "make", stop)
    with pytest.raises(Stop):
        run_bench(made, reporter=Reporter(quiet=True))
    assert table_now(made).missing == ["church: uce, all, seed 1"]


def test_the_table_of_what_is_done_is_written_and_no_cell_is_made(
    copied: Path, tiny_folder: Path, recipe: Path
) -> None:
    (cut,) = copied.glob("cells/church/esd-*/cell.json")
    cut.unlink()
    before = cells(copied)
    said = bench(tiny_folder, recipe, copied, *ONLY, "--tables")
    assert said.code == 0, said.err
    assert cells(copied) == before
    assert table(copied)["missing"] == ["church: esd, all"]
    assert "1 cell is not made yet" in (copied / "bench.html").read_text(encoding="utf-8")


def test_cells_of_another_protocol_are_refused(
    copied: Path, tiny_folder: Path, recipe: Path
) -> None:
    before = cells(copied)
    assert_told(
        bench(tiny_folder, recipe, copied, *ONLY, "--limit", 6),
        2,
        "another protocol",
        "drawn.limit (4 there, 6 now)",
    )
    assert cells(copied) == before


def test_what_was_added_to_a_protocol_stays_the_same(tmp_path: Path) -> None:
    def protocol(audit: str = "none", **models: str) -> dict[str, Any]:
        hashed = {kind: {"unet": value} for kind, value in models.items()}
        return {"format": "1", "audit": audit, "models": {"church": hashed, "dog": {}}}

    begin(tmp_path, protocol())
    begin(tmp_path, protocol("quick", retrained="a"))  # what was not there may be added
    begin(tmp_path, protocol())  # and left out again, as its cells stay
    begin(tmp_path, protocol("quick", retrained="a", twin="b"))
    with pytest.raises(CheckpointError, match=r'audit \("quick" there, "standard" now\)'):
        begin(tmp_path, protocol("standard"))
    for audit in ("quick,soft-token", "quick", "quick,relearning"):  # attacks may be added
        begin(tmp_path, protocol(audit))
    there = json.loads((tmp_path / "protocol.json").read_text(encoding="utf-8"))
    assert there["audit"] == "quick,soft-token,relearning"
    with pytest.raises(CheckpointError, match="retrained model of church, whose weights are other"):
        begin(tmp_path, protocol(retrained="c"))


def test_a_setting_that_an_older_version_did_not_know_is_none(tmp_path: Path) -> None:
    begin(tmp_path, {"format": "1", "drawn": {"limit": 4}})
    begin(tmp_path, {"format": "1", "drawn": {"limit": 4, "text_encoders": None}})
    with pytest.raises(CheckpointError, match=r"drawn\.text_encoders"):
        begin(tmp_path, {"format": "1", "drawn": {"limit": 4, "text_encoders": ["a"]}})


@pytest.mark.parametrize("models", ["x", 5, [1], {"church": "x"}, {"church": 5}])
def test_a_protocol_whose_models_are_no_tables_is_damaged(models: object, tmp_path: Path) -> None:
    begin(tmp_path, {"format": "1"})
    text = json.dumps({"format": "1", "models": models})
    (tmp_path / "protocol.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"protocol\.json is damaged: its models are"):
        begin(tmp_path, {"format": "1"})


def test_a_folder_of_something_else_is_refused(
    tiny_folder: Path, recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear", encoding="utf-8")
    assert_told(bench(tiny_folder, recipe, tmp_path / "out"), 2, "is no benchmark of this kind")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]


def test_a_cell_that_another_process_has_in_work_is_left_to_it(
    copied: Path, tiny_folder: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cut,) = copied.glob("cells/church/uce-*/cell.json")
    cut.unlink()
    real: Callable[..., Any] = run.claimed

    def taken(path: Path) -> Any:  # noqa: ANN401
        if path == cut.parent:
            raise InUseError(f"{path} is in use by another run")
        return real(path)

    monkeypatch.setattr(run, "claimed", taken)
    said = bench(tiny_folder, recipe, copied, *ONLY)
    assert said.code == 0, said.err
    assert lines(copied)["uce"]["state"] == "missing"
    assert table(copied)["missing"] == ["church: uce, all"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--only", "uec"), "there is no row 'uec'; the nearest is uce"),
        (("--only", ","), "only has an empty name among '', ''; leave that out"),
        (("--only", "base", "--masks", "random"), "masks are given and would not be read, as no"),
        (("--audit", "full,relearning,relearning"), "audit names relearning twice; name each once"),
        (("--only", "retrained"), "there is no --retrained CONCEPT=MODEL"),
        (("--limit", 2), "limit is 2; give 4 or more"),
        (("--masks", "sallient"), "the mask is 'sallient'; give some of all, salient, own"),
        (("--densities", "0.5,x"), "densities has 'x'; give shares above 0 and at most 1"),
        (("--densities", "0.5,nan"), "densities has 'nan'"),
        (("--densities", "50"), "densities has '50'"),
        (("--densities", "0.5,0.50"), "densities names 0.5 twice"),
        (("--densities", "0.5", "--masks", "all"), "the one mask is all"),
        (("--concepts", "church,church"), "name each once"),
        (("--retrained", "church"), "give it as CONCEPT=MODEL"),
        (("--retrained", "dog=x"), "none of the concepts church"),
        (("--twin", "church=x"), "given without a retrained model"),
        (("--audit", "quick,relerning"), "attack 'relerning' is unknown"),
        (("--audit", "relearning"), "audit is 'relearning'; give none, or quick, standard or full"),
        (("--audit", "none,words"), "audit is 'none,words'; give none, or quick"),
        (("--tune-seeds", 2), "would not be read, as tune is 0"),
        (("--tune", 2, "--tune-on", "church"), "which the table judges"),
        (("--tune-rates", "1e-4", "--tune-on", "church"), "which the table judges"),
        (("--tune-rates", "1e-4,0"), "--tune-rates has '0'; give rates above 0 and at most 1"),
        (("--tune-rates", "1e-4", "--tune", 2), "are two searches; give one of them"),
        (("--tune-rates", "1e-4", "--only", "uce"), "no row is a method that trains by a learning"),
        (("--add", "nowhere.py:Mine"), "there is no file nowhere.py"),
        (("--seeds", "x"), "seeds is 'x'"),
        (("--judge", "nope"), "there is no judge 'nope'"),
        (("--concepts", "horse"), "no prompt of the suite"),
        (("--prompts", "nowhere.csv"), "there is no prompt file nowhere.csv"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    options: tuple[object, ...],
    words: str,
    tiny_folder: Path,
    recipe: Path,
    tmp_path: Path,
) -> None:
    assert_told(bench(tiny_folder, recipe, tmp_path / "out", *options), 2, words)
    assert not (tmp_path / "out").exists()


def test_a_key_for_all_rows_is_refused_where_no_row_reads_it(
    tiny_folder: Path, recipe: Path, tmp_path: Path
) -> None:
    text = recipe.read_text(encoding="utf-8")
    for_one_method, for_none = tmp_path / "anchors.toml", tmp_path / "unseen.toml"
    for_one_method.write_text(f"{text}\n[erase.data.anchors]\ndrawn = 2\n", encoding="utf-8")
    assert bench(tiny_folder, for_one_method, tmp_path / "out", "--only", "uce").code == 0
    assert lines(tmp_path / "out")["uce"]["state"] == "done"
    for_none.write_text(f"{text}\n[erase.unseen]\nevery = 5\n", encoding="utf-8")
    refused = bench(tiny_folder, for_none, tmp_path / "other", "--only", "uce")
    assert_told(refused, 2, "unseen.every of the recipe is '5' and would not be read")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[methods.uec]\nsteps = 1", "[methods.uec] is of no method; the nearest is uce"),
        (
            "[methods.rece]\nridgee = 1",
            "methods.rece.ridgee is unknown; the nearest known key is methods.rece.ridge",
        ),
        ("[methods.speed]\nridge = -1", "in [methods.speed]: ridge is -1.0"),
    ],
)
def test_settings_that_a_method_refuses_are_refused_before_any_cell(
    table: str, words: str, tiny_folder: Path, recipe: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(f"{recipe.read_text(encoding='utf-8')}\n{table}\n", encoding="utf-8")
    # They are read before rows are chosen, so that a later command with more rows says no other.
    refused = bench(tiny_folder, wrong, tmp_path / "out", "--only", "salun")
    assert_told(refused, 2, words)
    assert not (tmp_path / "out").exists()


def test_models_that_cannot_stand_for_retraining_are_refused_before_any_cell(
    tiny_folder: Path, recipe: Path, tmp_path: Path
) -> None:
    trained = shutil.copytree(tiny_folder, tmp_path / "trained")
    nudge(trained, 0.1, 1)
    other = shutil.copytree(trained, tmp_path / "other")
    file = other / "tokenizer" / "tokenizer.json"
    table = json.loads(file.read_text(encoding="utf-8"))
    words = table["model"]["vocab"]
    words["a"], words["b"] = words["b"], words["a"]
    file.write_text(json.dumps(table), encoding="utf-8")
    for retrained, twin, said in (
        (other, trained, "the model of --retrained, .* has another tokenizer: 2 of"),
        (tiny_folder, trained, "--retrained, .* and MODEL, .* have the same weights"),
        (trained, trained, "--twin, .* and --retrained, .* have the same weights"),
    ):
        models = ("--retrained", f"church={retrained}", "--twin", f"church={twin}")
        refused = bench(tiny_folder, recipe, tmp_path / "out", "--only", "uce", *models)
        assert_told(refused, 2)
        assert re.search(said, refused.err)
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_there_and_a_folder_that_is_not_named_are_refused() -> None:
    assert_told(erasure("bench", "demo"), 2, "there is no --out")
    assert_told(erasure("bench", "/nowhere/model", "--out", "x"), 2, "there is no model")
