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


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--guard", "sld"), "guard is 'sld'"),
        (("--guard", "sld-max", "--guidance", 1), "works through guidance, which is 1.0"),
        (("--guard-text", "a church"), "would not be read, as there is no guard"),
        (("--guard", "sld-max", "--guard-text", " "), "guard_text is empty"),
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
