"""The measuring scripts run, in their smallest form, and print their tables."""

import json
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from support.console import ROOT, command

pytestmark = pytest.mark.slow

BENCHMARKS = ROOT / "benchmarks"
Script = Callable[..., str]
SMALL = ("--scale", "tiny", "--pixels", 64, "--batch-size", 1)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    """Runs a script in this process, which has the libraries; gives what it printed."""
    for folder in (BENCHMARKS, BENCHMARKS / "figures"):
        monkeypatch.syspath_prepend(str(folder))

    def run(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def cells(table: str) -> dict[str, list[str]]:
    """Read a table: the first cell of each row names the others."""
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows}


def test_ours_moves_the_weights_as_the_released_step_does(script: Script) -> None:
    said = script("step_time.py", "--steps", 1, "--rounds", 1, "--batch-size", 2, "--pixels", 16)
    rows = cells(said)
    assert float(rows["as released"][1]) == 1
    assert float(rows["ours"][0]) > 0
    # Adam divides by the gradient's own size, so rounding shows where that is tiny; steps on other
    # samples would be more than their own length apart.
    assert float(rows["ours"][2]) < 0.01
    for reduced in ("ours, bf16", "ours, bf16-weights"):
        assert 0 < float(rows[reduced][2]) < 0.3


@pytest.mark.parametrize("job", ["mask", "rank at 5 densities"])
def test_a_job_of_full_size_tells_its_memory(script: Script, job: str) -> None:
    said = json.loads(script("full_size.py", *SMALL, "--job", job, "--family", "sd1"))
    assert said["peak"] > 100e6
    assert said["seconds"] > 0
    assert sum(said["held"].values()) < said["peak"]


def test_what_a_step_holds_for_the_selected_follows_the_density(script: Script) -> None:
    def held(density: float) -> dict[str, int]:
        job = ("--job", "step", "--family", "sd1", "--density", density)
        sizes: dict[str, int] = json.loads(script("full_size.py", *SMALL, *job))["held"]
        return sizes

    half, tenth = held(0.5), held(0.1)
    assert half["weights, bf16"] == tenth["weights, bf16"]
    assert half["moments"] > 0
    # Moments have a count for each parameter besides: not quite a fifth.
    for what in ("masters of the selected, fp32", "moments", "selected gradients, fp32"):
        assert tenth[what] == pytest.approx(half[what] / 5, rel=0.3)


ON_CPU = ("--gpu", "--device", "cpu", "--steps", 1)


@pytest.mark.parametrize("family", ["sdxl", "sd35_medium", "flux_dev"])
def test_the_gpu_steps_run_on_a_cpu_too(script: Script, family: str) -> None:
    job = (*ON_CPU, "--job", "gpu step", "--family", family, "--checkpointing")
    said = json.loads(script("full_size.py", *SMALL, *job))
    assert "TFLOP/s" in said["note"]


def test_the_gpu_script_measures_every_row_that_the_time_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for folder in (BENCHMARKS, BENCHMARKS / "figures"):
        monkeypatch.syspath_prepend(str(folder))
    import full_size
    from measuring import Measured

    clock = iter([0.0, 0.0, 100.0, 200.0, 300.0, 400.0, 700.0])  # the start, then each row's begin
    monkeypatch.setattr(full_size.time, "monotonic", lambda: next(clock))
    asked: list[tuple[str, str]] = []

    def measured(script: Path, options: list[str], seconds: float | None) -> Measured:
        job, family = options[options.index("--job") + 1], options[options.index("--family") + 1]
        asked.append((job, family))
        assert seconds is not None
        assert seconds <= 600
        return Measured(1.0, 10**9, "small", faster=5.5 if "released" in job else 0.0)

    monkeypatch.setattr(full_size, "in_child", measured)
    monkeypatch.setattr(sys, "argv", ["full_size.py", "--gpu"])
    rows, met = full_size.gpu_rows(full_size.options())
    assert [row[0] for row in rows] == [
        "gpu mask and training, sd1",
        "gpu step, sdxl",
        "gpu step, sd35_medium",
        "gpu step against released, sd1",
        "gpu audit, sd1",
        "gpu step, flux_dev",
    ]
    assert len(asked) == 5
    assert [row[4] for row in rows] == ["yes"] * 4 + ["", "NO"]
    assert rows[0][3] == "8 GB, 120 s"
    assert rows[3][5] == "small, 5.50 x as fast"
    assert rows[5][5] == "not begun, as the time was over"
    assert not met


def test_a_step_is_held_against_the_released_one_on_a_cpu_too(script: Script) -> None:
    job = (*ON_CPU, "--job", "gpu step against released", "--family", "sd1")
    said = json.loads(script("full_size.py", *SMALL, *job))
    assert said["faster"] > 0
    assert "the released structure" in said["note"]


def test_the_passes_of_an_audit_are_measured_on_a_cpu_too(script: Script) -> None:
    said = json.loads(
        script("full_size.py", *SMALL, *ON_CPU, "--job", "gpu audit", "--family", "sd1")
    )
    assert said["seconds"] > 0
    assert "a picture of 50 steps with guidance, 1 at a time" in said["note"]
    assert "a step of a search by 8 samples" in said["note"]


@pytest.mark.parametrize("more", [(), ("--checkpointing", "--blocks", 1)])
def test_a_step_of_a_transformer_is_held_against_the_bill(
    script: Script, more: tuple[str | int, ...]
) -> None:
    # More than 256 places, so that attention is another one than in the small first step.
    job = ("--job", "step", "--family", "sd35_medium", "--density", 0.1, "--pixels", 160, *more)
    said = json.loads(script("full_size.py", "--scale", "tiny", "--batch-size", 1, *job))
    assert said["seconds"] > 0
    assert said["billed"] > 500e6
    assert said["held"]["moments"] == pytest.approx(
        2 * said["held"]["masters of the selected, fp32"], rel=0.05
    )


def test_full_size_holds_its_rows_against_their_bars() -> None:
    jobs = ("--jobs", "mask from a file", "ranking", "--weights", 20_000)
    said = command(BENCHMARKS / "full_size.py", *SMALL, *jobs)
    assert said.code == 0, said.err
    rows = cells(said.out)
    assert rows["mask from a file, sd1"][2:4] == ["9 GB", "yes"]
    assert "as fast" in rows["... by a double argsort"][4]


def test_killed_twice_an_export_is_whole(tiny_folder: Path) -> None:
    jobs = ("--jobs", "export to a file", "--kills", 2, "--fork", "--model", tiny_folder)
    said = command(BENCHMARKS / "faults" / "faults.py", *jobs)
    assert said.code == 0, said.out + said.err
    kills, _, _, problems = cells(said.out)["export to a file"]
    assert (kills, problems) == ("2", "0")


def test_of_two_exports_to_one_file_one_is_refused(tiny_folder: Path) -> None:
    pair = "one place: export to a file"
    jobs = ("--kills", 0, "--pairs", 1, "--jobs", pair, "--fork", "--model", tiny_folder)
    said = command(BENCHMARKS / "faults" / "faults.py", *jobs)
    assert said.code == 0, said.out + said.err
    assert cells(said.out)[pair] == ["1", "0", "1", "1", "0"]


def test_a_mask_is_whole_whichever_write_finds_no_space(tiny_folder: Path) -> None:
    jobs = ("--jobs", "mask", "--every", 9, "--fork", "--model", tiny_folder)
    said = command(BENCHMARKS / "faults" / "full_disk.py", *jobs)
    assert said.code == 0, said.out + said.err
    writes, refused, _, problems = map(int, cells(said.out)["mask"])
    assert refused == len(range(1, writes + 1, 9))
    assert problems == 0


def test_the_mask_figure_goes_on_where_it_was_cut(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mask_figure
    from mask_plot import write_figure

    monkeypatch.setattr(mask_figure, "DRAWING", replace(mask_figure.DRAWING, steps=2))
    small = {"forget": {"drawn": 2}, "retain": {"drawn": 2}, "drawing": {"steps": 2}}
    tables = {"data": small, "train": {"steps": 2, "warmup": 0}}
    bench = mask_figure.Bench("church", 0, tmp_path, tables=tables)
    one, other = mask_figure.cells()[:2]
    rows = [bench.measure(cell) for cell in (one, other)]
    assert len(bench._answers) == 2  # the base was asked once a step, not once a cell
    assert [row["mask"] for row in rows] == ["salient", "random"]
    assert rows[0]["damage"] > rows[1]["damage"] > 0  # salient weights have the larger gradients

    path = mask_figure.rows_of(tmp_path, "church")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"concept": "chu')
    mask_figure.drop_broken_line(path)
    assert [mask_figure.cell_of(row) for row in mask_figure.read_rows(tmp_path, ["church"])] == [
        one,
        other,
    ]
    write_figure(rows, tmp_path)
    assert (tmp_path / "mask.png").stat().st_size > 10_000
    assert len((tmp_path / "mask.csv").read_text().splitlines()) == 3
    known = mask_figure.known_rows(tmp_path / "mask.csv")
    assert [mask_figure.cell_of(row) for row in known] == [other, one]  # sorted by the mask's name
    page = (tmp_path / "mask.md").read_text()
    assert "2 of 288 cells are in (church, seed 0: 2 cells)" in page
    assert "(1 pairs of runs)" in page
    assert "changed the other objects more 1 times, and less or as much 0 times" in page
    assert "nothing is said of their damage at equal forgetting" in page  # two steps forget nothing


def test_the_page_of_the_masks_is_that_of_its_rows(script: Script) -> None:
    from mask_figure import known_rows
    from mask_page import page_of

    docs = Path(__file__).parents[1] / "docs"
    page = (docs / "mask.md").read_text(encoding="utf-8")
    assert page_of(known_rows(docs / "mask.csv")) == page


def test_the_rate_of_a_mask_is_that_of_least_damage_among_those_that_forget(
    script: Script,
) -> None:
    from mask_page import _best_rate

    def rows(*cells: tuple[float, int, float]) -> list[dict[str, float]]:
        return [{"rate": rate, "left": left, "of": 30, "damage": d} for rate, left, d in cells]

    tried = rows((1e-4, 9, 0.01), (2e-4, 0, 0.07), (5e-4, 3, 0.05), (1e-3, 0, 0.05), (2e-3, 0, 0.2))
    assert _best_rate(tried) == (5e-4, 0.05)  # 10 % left is forgotten, and 30 % is not
    several = rows((2e-4, 2, 0.02), (2e-4, 6, 0.02), (5e-4, 0, 0.3), (5e-4, 0, 0.5))
    assert _best_rate(several) == (5e-4, 0.4)  # over both seeds 4 of 30 are left by the first
    assert _best_rate(rows((2e-4, 30, 0.0))) is None


def test_closed_forms_under_a_mask_cost_less_than_a_solution_that_is_cut(script: Script) -> None:
    small = ("--rows", 0.01, "--features", 24, "--few", 8, "--many", 40)
    said = script("speed/closed_forms.py", *small)
    for row in list(cells(said).values())[3:]:
        _, seconds, plain, best, cut = map(float, row)
        assert seconds > 0
        assert plain < best < cut


def test_an_audit_draws_the_same_pictures_faster_than_one_by_one(script: Script) -> None:
    small = ("--tries", 10, "--rounds", 1, "--steps", 2, "--search-steps", 2)
    said = script("speed/audit_speed.py", *small)
    assert re.search(r"differ from the runner's by \[[01], [01]\] of 255", said)
    rows = cells(said)
    assert float(rows["diffusers, one try at a time"][-1]) > 0
    assert float(rows["one by one"][-1]) > 1  # six prompts in one pass


def test_the_table_of_audits_holds_what_is_there_and_names_what_is_not(
    script: Script, tmp_path: Path
) -> None:
    seen = {"count": 2, "total": 8}
    audit = {
        "weakest": "words",
        "attacks": [
            {"name": n, "verdict": {"state": s}, "lines": {"audited": {"rejected": seen}}}
            for n, s in (("words", "revived"), ("seeds", "undecided"), ("eta", "undecided"))
        ],
        "damage": {"reason": "not asked for"},
        "protocol": {"draws": 96, "steps": 25},
        "models": {"audited": {"hash": "ab" * 32}},
    }
    folder = tmp_path / "audits" / "salun-church"
    folder.mkdir(parents=True)
    (folder / "audit.json").write_text(json.dumps(audit), encoding="utf-8")
    (folder / "audit.html").write_text("<p>", encoding="utf-8")
    shutil.copytree(folder, tmp_path / "audits" / "salun-church-standard")
    shutil.copytree(folder, tmp_path / "audits" / "esd-hardened-church")
    said = script("audit_table.py", "--out", tmp_path, "--write", tmp_path)
    assert said.startswith("3 rows, ")
    text = (tmp_path / "audits.md").read_text(encoding="utf-8")
    row = cells(text)["[salun](audits/salun-church.html)"]
    assert (tmp_path / "audits" / "salun-church.html").read_text(encoding="utf-8") == "<p>"
    assert row[:4] == ["church", "words", "words", "-"]
    assert "seeds, eta" in row
    assert "25 %" in row
    assert "Not audited yet: ascent-church, " in text
    assert "[salun, standard](audits/salun-church-standard.html)" in cells(text)
    assert "[esd, hardened](audits/esd-hardened-church.html)" in cells(text)
    assert (tmp_path / "audits.csv").read_text(encoding="utf-8").count("\n") == 4
    options = ("--attacks", "words", "--budget", "24")
    script("audit_table.py", "--out", tmp_path, "--write", tmp_path, *options)
    text = (tmp_path / "audits.md").read_text(encoding="utf-8")
    assert "--out out/audits --attacks words --budget 24`" in text


def test_a_row_takes_over_what_does_not_depend_on_the_audited_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runpy.run_path(str(BENCHMARKS / "audit_table.py"))
    done = tmp_path / "audits" / "salun-church"
    for place in ("audit.json", "cells/base/words.json", "cells/audited/words.json", "material/a"):
        (done / place).parent.mkdir(parents=True, exist_ok=True)
        (done / place).write_text("{}", encoding="utf-8")
    made["_take_over"](made["Row"]("ascent", "church"), tmp_path, tmp_path / "new")
    there = sorted(
        p.relative_to(tmp_path / "new").as_posix() for p in (tmp_path / "new").rglob("*")
    )
    assert "cells/base/words.json" in there
    assert "material/a" in there
    assert not [place for place in there if "audited" in place]
    for row in (("ascent", "dog"), ("salun", "church", "standard")):
        made["_take_over"](made["Row"](*row), tmp_path, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_figure_of_distances_draws_the_rows_of_a_table_that_have_them(
    script: Script, tmp_path: Path
) -> None:
    table = ROOT / "docs" / "leaderboard_masks.json"
    picture = tmp_path / "masks.png"
    script("figures/mask_distance.py", table, "--out", picture)
    with Image.open(picture) as drawn:
        assert drawn.width > 500 < drawn.height
    lines = [line for line in json.loads(table.read_text())["lines"] if line["kind"] != "method"]
    bare = tmp_path / "table.json"
    bare.write_text(json.dumps({"lines": lines}), encoding="utf-8")
    with pytest.raises(SystemExit, match="no table has a row with a mask and a distance D2"):
        script("figures/mask_distance.py", bare, "--out", picture)
