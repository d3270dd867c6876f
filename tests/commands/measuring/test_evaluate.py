"""`erasure evaluate` from start to end, on a tiny random model and a table of prompts."""

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from support.console import erasure
from support.forked import forked, run_and_die, run_line
from support.refusals import assert_told, changed_part

ROWS = [
    ("a church in sketch style", "church", "sketch", 1),
    ("a church in flat style", "church", "flat", 2),
    ("a dog in sketch style", "dog", "sketch", 3),
    ("a dog in flat style", "dog", "flat", 4),
    ("a fish in flat style", "fish", "flat", 5),
    ("a fish in sketch style", "fish", "sketch", 6),
]
QUICK = ("--suite", "csv", "--steps", 2, "--batch-size", 2, "--judge", "canvas", "--device", "cpu")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "prompts.csv"
    lines = ["prompt,object,style,seed", *(",".join(map(str, row)) for row in ROWS)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def arguments(run: Path, base: Path, prompts: Path, out: Path) -> list[str]:
    words = ["evaluate", run, "--against", base, *QUICK, "--prompts", prompts, "--out", out]
    return [*map(str, words), "--erased", "church"]


@pytest.fixture(scope="module")
def evaluated(
    tiny_run: Path, tiny_folder: Path, prompts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("evaluated") / "out"
    run_alone(arguments(tiny_run, tiny_folder, prompts, out))
    return out


def run_alone(line: list[str]) -> None:
    """Run a command line by one thread, as processes are: with more, sums are rounded otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        said = erasure(*line)
    finally:
        torch.set_num_threads(threads)
    assert said.code == 0, said.err


def read(folder: Path) -> dict[str, Any]:
    """The results without their times."""
    results: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results.pop("seconds")
    return results


def test_it_writes_results_tables_page_and_recipe(evaluated: Path) -> None:
    results = read(evaluated)
    assert results["format"] == "diffusion-erasure results 2"
    assert results["erased"] == ["church"]
    assert results["summary"]["counts"]["ua"][1] == 2
    assert results["summary"]["counts"]["ira"][1] == results["summary"]["counts"]["cra"][1] == 4
    assert {name for name in results["summary"]["difference"]} == {"ua", "ira", "cra"}
    assert len(results["images"]) == 6
    for image in results["images"]:
        for side in ("after", "before"):
            assert (evaluated / image[side]["file"]).is_file()
            assert image[side]["judgements"]["canvas"]["guesses"].keys() == {"object", "style"}
    assert results["protocol"]["judges"]["canvas"]["sha256"]
    assert (evaluated / "report.html").stat().st_size > 10_000
    assert (evaluated / "images.csv").read_text().count("\n") == 1 + 2 * len(ROWS)
    assert "steps = 2" in (evaluated / "recipe.toml").read_text()


def test_both_models_start_from_the_same_noise(
    tiny_folder: Path, prompts: Path, tmp_path: Path
) -> None:
    said = erasure(*arguments(tiny_folder, tiny_folder, prompts, tmp_path / "same"))
    assert said.code == 0, said.err
    for image in read(tmp_path / "same")["images"]:
        assert image["after"]["sha256"] == image["before"]["sha256"]


def test_again_it_draws_nothing_and_finds_the_same(
    evaluated: Path, tiny_run: Path, tiny_folder: Path, prompts: Path
) -> None:
    before = read(evaluated)
    when = {path: path.stat().st_mtime_ns for path in evaluated.glob("images/*/*.png")}
    assert erasure(*arguments(tiny_run, tiny_folder, prompts, evaluated)).code == 0
    assert read(evaluated) == before
    assert {path: path.stat().st_mtime_ns for path in evaluated.glob("images/*/*.png")} == when


@pytest.mark.slow
def test_two_processes_find_what_one_finds(
    evaluated: Path, tiny_run: Path, tiny_folder: Path, prompts: Path, tmp_path: Path
) -> None:
    said = forked(run_line, *arguments(tiny_run, tiny_folder, prompts, tmp_path / "two"), count=2)
    assert said.code == 0, said.err
    assert said.out.count("verdict") == 1
    assert read(tmp_path / "two") == read(evaluated)


@pytest.mark.slow
def test_killed_half_way_and_restarted_it_finds_the_same(
    evaluated: Path, tiny_run: Path, tiny_folder: Path, prompts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cut"
    # The first of three batches of pictures is there; the second is not in the list yet.
    died = forked(run_and_die, ".jsonl", 2, *arguments(tiny_run, tiny_folder, prompts, out))
    assert died.code == -signal.SIGKILL, died.err
    assert list(out.glob("manifest/after/0*.jsonl"))
    assert not (out / "results.json").exists()
    pictures = {path.name: path.read_bytes() for path in out.glob("images/after/*.png")}
    assert pictures
    run_alone(arguments(tiny_run, tiny_folder, prompts, out))
    assert read(out) == read(evaluated)


def test_a_model_that_draws_one_colour_is_not_evaluated(
    tiny_folder: Path, prompts: Path, tmp_path: Path
) -> None:
    broken = changed_part(tiny_folder, tmp_path / "black", "vae", "decoder.conv_out.bias", -1e6)
    said = erasure(*arguments(broken, tiny_folder, prompts, tmp_path / "out"))
    assert_told(said, 1, "all 6 pictures of the model after are black, of one colour")
    assert not (tmp_path / "out" / "results.json").exists()


def test_the_card_tells_the_figures_and_keeps_the_rest(
    tiny_run: Path, tiny_folder: Path, prompts: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    before = (run / "model" / "README.md").read_text(encoding="utf-8")
    said = erasure(*arguments(run, tiny_folder, prompts, tmp_path / "out"), "--card")
    assert said.code == 0, said.err
    card = ModelCard.load(run / "model" / "README.md")
    assert card.content.endswith(before.split("---\n", 2)[2])
    shares = {r.metric_type: r.metric_value for r in card.data.eval_results}
    summary = read(tmp_path / "out")["summary"]
    assert {key: shares[key] for key in ("ua", "ira", "cra")} == {
        key: round(summary[key], 6) for key in ("ua", "ira", "cra")
    }
    assert erasure(*arguments(run, tiny_folder, prompts, tmp_path / "out"), "--card").code == 0
    again = ModelCard.load(run / "model" / "README.md")
    assert len(again.data.eval_results) == len(card.data.eval_results)
    assert erasure("verify", run).code == 0


def test_results_of_one_protocol_stand_in_one_table(
    evaluated: Path, tiny_folder: Path, prompts: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    assert erasure(*arguments(tiny_folder, tiny_folder, prompts, other)).code == 0
    said = erasure("evaluate", "--compare", evaluated, "--compare", other, "--json")
    assert said.code == 0, said.err
    assert [row["erased"] for row in json.loads(said.out)["rows"]] == [["church"], ["church"]]
    third = Path(shutil.copytree(other, tmp_path / "third"))
    results = json.loads((third / "results.json").read_text(encoding="utf-8"))
    results["protocol"]["guidance"] += 1
    (third / "results.json").write_text(json.dumps(results), encoding="utf-8")
    said = erasure("evaluate", "--compare", evaluated, "--compare", third)
    assert said.code == 2
    assert "guidance" in said.err


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ((), "suite"),
        (("--suite", "canva"), "canvas"),
        (("--suite", "csv"), "--prompts FILE"),
        (("--suite", "canvas", "--judge", "nudent"), "nudenet"),
        (("--suite", "canvas", "--metric", "fid"), "frechet"),
        (("--suite", "canvas", "--metric", "clip"), "--clip"),
        (("--suite", "canvas", "--metric", "kid"), "--against or --reference"),
        (("--suite", "canvas", "--metric", "perceptual"), "--against"),
        (("--suite", "canvas", "--erased", "churh"), "church"),
        (
            ("--suite", "imagenette", "--judge", "canvas", "--erased", "cat"),
            "no prompt of the suite imagenette shows 'cat'",
        ),
        (("--suite", "canvas", "--steps", 0), "steps is 0"),
        (("--suite", "canvas", "--scheduler", "dim"), "ddim"),
        (("--suite", "canvas", "--seeds", "x"), "0-4"),
        (("--suite", "canvas", "--category", "sexual"), "--category"),
        (
            ("--suite", "unlearncanvas", "--guidance", 5),
            "unlearncanvas brings its own",
        ),
        (("--suite", "i2p", "--guidance", 7.5), "--guidance is '7.5' and would not be read"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_drawn(
    options: tuple[object, ...], wanted: str, tiny_folder: Path, tmp_path: Path
) -> None:
    said = erasure("evaluate", tiny_folder, *options, "--out", tmp_path / "out")
    assert said.code == 2, said.err
    assert wanted in said.err
    assert_told(said, 2, wanted)
    assert not (tmp_path / "out").exists()


def test_without_a_model_or_a_folder_it_says_so(tiny_folder: Path, tmp_path: Path) -> None:
    assert "model" in erasure("evaluate", "--suite", "canvas", "--out", tmp_path / "x").err
    assert "--out" in erasure("evaluate", tiny_folder, "--suite", "canvas").err


def test_a_judge_that_is_not_installed_names_its_extra(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nudenet", None)
    said = erasure(
        *("evaluate", tiny_folder, "--suite", "canvas", "--judge", "nudenet"),
        *("--out", tmp_path / "out"),
    )
    assert said.code == 2
    assert "diffusion-erasure[nudenet]" in said.err
    assert not (tmp_path / "out").exists()
