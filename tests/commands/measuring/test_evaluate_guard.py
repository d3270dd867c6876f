"""`erasure evaluate --guard`: a row of the same tables, and refused where it cannot work."""

import json
from pathlib import Path

import pytest
from support.console import erasure

QUICK = ("--suite", "csv", "--steps", 2, "--batch-size", 2, "--judge", "canvas", "--device", "cpu")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "prompts.csv"
    path.write_text("prompt,object,seed\na church,church,1\na dog,dog,2\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def quick(tiny_folder: Path, prompts: Path) -> tuple[object, ...]:
    return ("evaluate", tiny_folder, *QUICK, "--prompts", prompts, "--erased", "church")


def test_a_guard_is_a_row_of_the_same_table(
    quick: tuple[object, ...], tiny_folder: Path, tmp_path: Path
) -> None:
    plain, guarded = tmp_path / "plain", tmp_path / "guarded"
    for out, more in ((plain, ()), (guarded, ("--guard", "sld-max"))):
        assert erasure(*quick, "--against", tiny_folder, "--out", out, *more).code == 0
    made = json.loads((guarded / "results.json").read_text(encoding="utf-8"))
    words = "sld-max against 'church', not exportable"
    assert made["models"]["after"]["guard"] == words
    assert made["models"]["before"].get("guard") is None
    assert made["summary"]["verdict"].startswith(f"With the guard {words}: ")
    pictures = [(folder / "images" / "after") for folder in (plain, guarded)]
    first = next(pictures[0].glob("*.png")).name
    assert (pictures[0] / first).read_bytes() != (pictures[1] / first).read_bytes()
    assert (pictures[0] / first).read_bytes() == (guarded / "images/before" / first).read_bytes()
    table = erasure("evaluate", "--compare", plain, "--compare", guarded).out
    assert "sld-max" in table
    assert "exportable" in table  # folded by its narrow column
    assert "sld-max" in (guarded / "report.html").read_text(encoding="utf-8")


def test_another_guard_does_not_take_over_its_pictures(
    quick: tuple[object, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert erasure(*quick, "--out", out, "--guard", "negative-prompt").code == 0
    said = erasure(*quick, "--out", out, "--guard", "sld-max")
    assert said.code == 2
    assert "guard" in said.err


def test_what_a_filter_refuses_shows_nothing_and_is_counted(
    quick: tuple[object, ...], tiny_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    filtered = (*quick, "--against", tiny_folder, "--guard", "prompt-filter", "--out", out)
    said = erasure(*filtered)
    assert said.code == 0, said.err
    made = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [image["after"]["state"] for image in made["images"]] == ["refused", "ok"]
    assert made["summary"]["counts"]["ua"] == [1, 1]
    assert made["unusable"]["after"] == {"nan": 0, "black": 0}
    assert "1 of 1 pictures that ask for church, and 0 of 1 others" in made["summary"]["verdict"]
    assert "refused the prompt" in (out / "report.html").read_text(encoding="utf-8")
    (piece,) = (out / "manifest" / "after").glob("0*.jsonl")  # as it was kept before
    piece.write_text(piece.read_text(encoding="utf-8").replace("refused", "black"), "utf-8")
    assert erasure(*filtered).code == 0
    again = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert again["images"] == made["images"]


def test_a_filter_that_refuses_all_leaves_nothing_to_judge_and_says_so(
    quick: tuple[object, ...], tmp_path: Path
) -> None:
    words = ("--guard", "prompt-filter", "--guard-text", "church, dog")
    said = erasure(*quick, *words, "--out", tmp_path / "out", "--json")
    assert said.code == 0, said.err
    assert "1 of 1 others" in json.loads(said.out)["verdict"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--guard", "sld"), "guard is 'sld'"),
        (("--guard", "sld-max", "--guidance", 1), "works through guidance, which is 1.0"),
        (("--guard-text", "a church"), "would not be read, as there is no guard"),
        (("--guard", "sld-max", "--guard-text", " "), "--guard-text is empty"),
        (("--guard", "sld-max", "--guard-text", "church " * 200), "tokens, and the text encoder"),
    ],
)
def test_bad_guards_are_refused_before_anything_is_written(
    quick: tuple[object, ...], tmp_path: Path, more: tuple[object, ...], words: str
) -> None:
    said = erasure(*quick, "--out", tmp_path / "out", *more)
    assert said.code == 2
    assert words in " ".join(said.err.split())
    assert not (tmp_path / "out" / "results.json").exists()
    assert not (tmp_path / "out" / "images").exists()
