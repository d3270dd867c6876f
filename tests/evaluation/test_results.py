"""`results.json` and its CSVs, and several of them in one table."""

import csv
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.results.evaluated import (
    DETECTIONS,
    FORMULA,
    GAIN,
    PROTOCOL,
    SCORES,
    empty,
    evaluation,
    exposed,
    image,
)

from erasure.errors import DiskError
from eval.errors import EvalError
from eval.judges.judge import Guess, Judgement
from pipelines.comparison.comparing import compare_runs
from pipelines.comparison.table import ComparedRuns
from pipelines.evaluation.outcome import results as schema
from pipelines.evaluation.outcome.card import eval_results
from pipelines.evaluation.outcome.results import ClassRate, PromptRate, Results
from pipelines.evaluation.outcome.results_file import FORMAT, read_results, write_results
from pipelines.evaluation.outcome.summary import Summary
from pipelines.spreadsheets import safe_cell


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A results.json with something done to it."""
    path = write_results(evaluation(folder), folder)
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def one_sentence(said: pytest.ExceptionInfo[EvalError]) -> str:
    text = str(said.value)
    assert "\n" not in text
    assert len(text) < 350
    return text


def test_written_then_read_is_the_same(tmp_path: Path) -> None:
    full = evaluation(tmp_path, detections={"nudenet": DETECTIONS}, scores=SCORES)
    path = write_results(full, tmp_path)
    assert path == tmp_path / "results.json"
    assert read_results(tmp_path) == full
    assert read_results(path) == full


def test_every_field_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    kinds = [kind for kind in vars(schema).values() if is_dataclass(kind)]
    names = {field.name for kind in kinds for field in fields(kind)}
    assert len(names) > 60
    assert {name for name in names if not re.search(rf"\b{name}\b", page)} == set()
    assert FORMAT in page


def test_results_of_a_judge_that_could_not_reject_are_read_too(tmp_path: Path) -> None:
    def older(values: dict[str, Any]) -> None:
        values["format"] = "diffusion-erasure results 1"
        del values["summary"]["rejected"]
        for row in values["classes"]:
            del row["rejected"]

    read = read_results(changed(tmp_path, older))
    assert read.summary.rejected is None
    assert {row.rejected for row in read.classes} == {None}
    assert read.summary.after == evaluation(tmp_path / "new").summary.after


def test_rejected_pictures_are_told_in_the_table_the_csv_and_the_card(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    for name in ("a", "b"):
        write_results(results, tmp_path / name)
    table = compare_results([tmp_path / "a", tmp_path / "b"])
    assert "ua.rejected" in [column.key for column in table.columns]
    assert table.rows[0].cells["ua.rejected"].after == 0.5
    (row, *_) = rows(tmp_path / "a" / "classes.csv")
    assert (row["rejected.after.count"], row["rejected.before.count"]) == ("1", "0")
    figures = {one.metric_type: one.metric_value for one in eval_results(results)}
    assert figures["ua_rejected"] == 0.5


def test_a_suite_without_labels_or_base_is_read_too(tmp_path: Path) -> None:
    bare = evaluation(tmp_path)
    results = replace(
        bare,
        models=replace(bare.models, before=None),
        summary=Summary(verdict="No judge of this suite gives a rate."),
        classes=(),
        prompts=(PromptRate(prompt="a", total=0),),
        images=tuple(replace(one, before=None) for one in bare.images),
    )
    write_results(results, tmp_path)
    assert read_results(tmp_path) == results


def test_summary_holds_shares_intervals_and_counts_by_name(tmp_path: Path) -> None:
    values = json.loads(write_results(evaluation(tmp_path), tmp_path).read_text("utf-8"))
    assert values["format"] == FORMAT
    summary = values["summary"]
    assert summary["ua"] == 0.5
    assert summary["counts"] == {"ua": [1, 2], "ra": [5, 6]}
    assert summary["intervals"]["ua"] == pytest.approx([0.0945, 0.9055], abs=1e-4)  # Wilson
    assert summary["before"]["ua"] == 0.0
    assert summary["difference"] == {"ua": {"value": 0.5, "low": 0.25, "high": 1.0, "pairs": 2}}


def test_a_share_of_nothing_is_null_and_no_invalid_json(tmp_path: Path) -> None:
    results = evaluation(tmp_path, summary=Summary(verdict="none", after={"ua": empty()}))
    text = write_results(results, tmp_path).read_text(encoding="utf-8")
    values = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert values["summary"]["ua"] is None
    share = read_results(tmp_path).summary.after["ua"].share
    assert share != share  # NaN


def test_the_same_results_are_the_same_bytes_a_row_a_line(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    first = write_results(results, tmp_path / "a").read_bytes()
    assert first == write_results(read_results(tmp_path / "a"), tmp_path / "b").read_bytes()
    assert sum(b'"case"' in line for line in first.splitlines()) == len(results.images)


def test_half_a_surrogate_pair_survives(tmp_path: Path) -> None:
    results = evaluation(tmp_path, images=(image(tmp_path, "x", "half \ud83d", "dog"),))
    write_results(results, tmp_path)
    assert read_results(tmp_path).images[0].prompt == "half \ud83d"


def test_a_key_of_a_later_version_is_passed_over(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda v: v["suite"].update(colour="red"))
    assert read_results(path).suite.name == "canvas"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(format="diffusion-erasure results 3"), "has format"),
        (lambda v: v.pop("format"), "has format None"),
        (lambda v: v["suite"].pop("cases"), "results.suite.cases is missing"),
        (lambda v: v["suite"].update(cases="8"), "results.suite.cases is '8', not a whole number"),
        (lambda v: v["suite"].update(cases=True), "cases is True, not a whole number"),
        (lambda v: v.update(images={}), "results.images is an object, not a list"),
        (lambda v: v["images"][1]["after"].update(state="grey"), "images[1].after.state is 'grey'"),
        (lambda v: v["images"][0]["after"]["judgements"].update(canvas={}), "canvas"),
        (lambda v: v["summary"]["counts"].update(ua=[1]), "not a list of 2"),
        (lambda v: v["summary"].pop("verdict"), "results.summary"),
        (lambda v: v["models"].update(after=None), "models.after is None, not an object"),
    ],
)
def test_damaged_results_are_told_by_field(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    path = changed(tmp_path, change)
    with pytest.raises(EvalError) as said:
        read_results(path)
    assert message in one_sentence(said)
    assert str(path) in str(said.value)


@pytest.mark.parametrize("text", ["", "{", "[1", '"x"', "[]", "null", "\x80", "[" * 100_000])
def test_what_is_no_results_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(EvalError) as said:
        read_results(path)
    one_sentence(said)


def test_missing_results_are_told(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match=r"there is no .*erasure evaluate --out"):
        read_results(tmp_path)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(EvalError, match="there is no"):
        read_results(tmp_path / "file" / "results.json")


def test_a_failed_write_leaves_the_old_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = evaluation(tmp_path)
    before = write_results(results, tmp_path).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskError, match="disk is full"):
        write_results(replace(results, erased=("dog",)), tmp_path)
    assert (tmp_path / "results.json").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_images_csv_has_a_row_a_picture(tmp_path: Path) -> None:
    write_results(evaluation(tmp_path), tmp_path)
    table = rows(tmp_path / "images.csv")
    assert len(table) == 16
    first = table[0]
    assert (first["case"], first["side"], first["label.object"]) == ("0-0", "after", "church")
    assert (first["canvas.object"], first["canvas.object.score"]) == ("castle", "0.9")
    assert table[1]["side"] == "before"


def test_images_csv_tells_detections_and_scores(tmp_path: Path) -> None:
    judged = exposed() | {"opennsfw": Judgement(scores={"nsfw": 0.25})}
    one = image(tmp_path, "x", "a", "dog", after=judged, before={"nudenet": Judgement()})
    write_results(evaluation(tmp_path, images=(one,)), tmp_path)
    after, before = rows(tmp_path / "images.csv")
    assert after["nudenet.detections"] == "FEMALE_BREAST_EXPOSED 0.800"
    assert after["opennsfw.nsfw"] == "0.25"
    assert before["nudenet.detections"] == ""
    assert before["opennsfw.nsfw"] == ""


def test_classes_csv_has_a_row_a_class(tmp_path: Path) -> None:
    write_results(evaluation(tmp_path), tmp_path)
    dog, church = rows(tmp_path / "classes.csv")
    assert (church["label"], church["erased"], church["after.share"]) == ("church", "1", "0.5")
    assert (dog["before.count"], dog["difference.value"]) == ("2", "-0.5")


@pytest.mark.parametrize(
    "cell",
    ["=cmd", "+1", "-1", "@x", "\tx", "\rx", "\nx", "＝1", FORMULA],  # noqa: RUF001
)
def test_a_cell_like_a_formula_gets_an_apostrophe(tmp_path: Path, cell: str) -> None:
    assert safe_cell(cell) == f"'{cell}"
    guess = Judgement(guesses={"object": (Guess(cell, 0.5),)})
    one = image(tmp_path, "x", cell, cell, after={"canvas": guess})
    write_results(evaluation(tmp_path, images=(one,)), tmp_path)
    row = rows(tmp_path / "images.csv")[0]
    assert row["prompt"] == row["label.object"] == row["canvas.object"] == f"'{cell}"


@pytest.mark.parametrize("cell", ["a=b", "'x", " x", "", -1, -0.5, "1-2"])
def test_other_cells_stay_as_they_are(cell: object) -> None:
    assert safe_cell(cell) == cell


# Comparing


def folders(tmp_path: Path, *changes: dict[str, Any]) -> list[Path]:
    made = []
    for n, change in enumerate(changes):
        folder = tmp_path / f"run{n}"
        write_results(evaluation(folder, **change), folder)
        made.append(folder)
    return made


def compare_results(paths: Sequence[Path]) -> ComparedRuns:
    return compare_runs(paths).table


def printed(table: ComparedRuns) -> str:
    console = Console(width=200, no_color=True)
    with console.capture() as said:
        console.print(table.to_table())
    return said.get()


def test_results_of_one_protocol_become_one_table(tmp_path: Path) -> None:
    paths = folders(tmp_path, {}, {"erased": ("dog",)})
    table = compare_results([paths[0], paths[1] / "results.json"])
    assert [column.key for column in table.columns] == ["ua", "ra", "ua.rejected", "lpips"]
    assert [(row.name, row.erased) for row in table.rows] == [
        ("run0", ("church",)),
        ("run1", ("dog",)),
    ]
    cell = table.rows[0].cells["ua"]
    assert (cell.after, cell.before, cell.difference) == (0.5, 0.0, GAIN)
    values = json.loads(json.dumps(table.to_dict()))
    assert values["rows"][1]["cells"]["ua"]["after"] == 0.5
    text = printed(table)
    for part in ("run0", "run1", "church", "50.0 %", "(9.5 % to 90.5 %)", "+50.0 points", "LPIPS"):
        assert part in text


def test_detections_and_scores_are_compared_too(tmp_path: Path) -> None:
    judged = {"detections": {"nudenet": DETECTIONS}, "scores": SCORES}
    table = compare_results(folders(tmp_path, judged, {}))
    keys = [column.key for column in table.columns]
    assert keys[:4] == ["ua", "ra", "ua.rejected", "opennsfw.nsfw.0.5"]
    assert keys[4:] == ["nudenet.9 exposed classes", "lpips"]
    assert table.rows[0].cells["nudenet.9 exposed classes"].before == 7
    assert "nudenet.9 exposed classes" not in table.rows[1].cells
    assert "not measured" in printed(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 25}, "steps is 20 in the first and 25 in the second"),
        ({"scheduler": "euler"}, "scheduler is 'ddim' in the first and 'euler'"),
        ({"judges": {"canvas": {"sha256": "e"}}}, "judges.canvas.weights is 'canvas_cl"),
        ({"judges": {}}, "judges.canvas.weights is"),
        ({"metrics": {"clip": {"model": "x"}}}, "metrics is {} in the first and 'absent'"),
    ],
)
def test_other_protocols_are_refused_by_field(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    paths = folders(tmp_path, {}, {"protocol": replace(PROTOCOL, **change)})
    with pytest.raises(EvalError) as said:
        compare_results(paths)
    assert message in one_sentence(said)
    assert "run0" in str(said.value)
    assert "run1" in str(said.value)


def test_other_prompts_are_refused(tmp_path: Path) -> None:
    suite = evaluation(tmp_path / "x").suite
    for change, message in (("cases", "suite.cases is 8"), ("name", "suite.name is 'canvas'")):
        other = replace(suite, **{change: 4 if change == "cases" else "i2p"})
        with pytest.raises(EvalError, match=message):
            compare_results(folders(tmp_path / change, {}, {"suite": other}))


def test_batch_size_and_versions_do_not_forbid_comparing(tmp_path: Path) -> None:
    other = replace(PROTOCOL, batch_size=1, versions={"torch": "2.12.0"})
    table = compare_results(folders(tmp_path, {}, {"protocol": other}))
    assert table.notes == (
        "torch differs: 2.13.0, 2.12.0",
        "diffusion-erasure differs: 0.1.0, unknown",
    )


def test_one_result_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="two or more"):
        compare_results(folders(tmp_path, {}))


def test_folders_of_one_name_are_told_apart_and_markup_is_text(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "[red]x", tmp_path / "b" / "[red]x"]
    for path in paths:
        write_results(evaluation(path), path)
    table = compare_results(paths)
    assert [row.name for row in table.rows] == list(map(str, paths))
    assert "[red]x" in printed(table)


def test_a_class_without_base_has_empty_cells(tmp_path: Path) -> None:
    results: Results = evaluation(tmp_path)
    lone = ClassRate(
        judge="canvas", head="object", label="dog", erased=False, after=results.classes[0].after
    )
    write_results(replace(results, classes=(lone,)), tmp_path)
    (row,) = rows(tmp_path / "classes.csv")
    assert row["before.share"] == row["difference.value"] == ""
