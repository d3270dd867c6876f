"""Links and folders where something is to be written: the link stays, and nothing is lost."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.console import erasure
from support.refusals import CHURCH, assert_told

from erasure.storage.links import followed, remove_folder

WRITERS: dict[str, tuple[tuple[Any, ...], str]] = {
    "file": (("export", "RUN"), "x.safetensors"),
    "patch": (("export", "RUN", "--to", "patch", "--base", "MODEL"), "x.patch"),
    "mask": (("mask", "MODEL", *CHURCH, "--kind", "all"), "x.safetensors"),
    "grid": (("compare", "RUN", "RUN", "--prompt", "x", "--seeds", 0, "--steps", 1), "x.png"),
}


@pytest.fixture
def line(tiny_run: Path, tiny_folder: Path) -> Callable[[str], list[Any]]:
    """The words of a writer, without where it writes to."""
    known = {"RUN": tiny_run, "MODEL": tiny_folder}
    return lambda name: [known.get(word, word) for word in WRITERS[name][0]]


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_in_the_place_of_a_file_is_refused_before_the_work(
    name: str, line: Callable[[str], list[Any]], tmp_path: Path
) -> None:
    out = tmp_path / WRITERS[name][1]
    out.mkdir()
    (out / "mine").write_text("mine")
    said = erasure(*line(name), "--out", out, "--force")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[-1] == f"erasure: {out} is a folder; give the path of a file"
    assert [path.name for path in tmp_path.rglob("*")] == [out.name, "mine"]


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_goes_where_the_link_leads_and_the_link_stays(
    name: str, line: Callable[[str], list[Any]], tmp_path: Path
) -> None:
    out, far = tmp_path / WRITERS[name][1], tmp_path / "far" / WRITERS[name][1]
    out.symlink_to(far)  # to a place that is not there yet
    assert erasure(*line(name), "--out", out).code == 0
    assert out.is_symlink()
    first = far.read_bytes()
    assert_told(erasure(*line(name), "--out", out), 2, "exists", "--force")
    far.write_text("older")
    assert erasure(*line(name), "--out", out, "--force").code == 0
    assert out.is_symlink()
    assert len(far.read_bytes()) == len(first)


def test_a_run_is_made_anew_where_its_model_was_moved_and_linked(
    tiny_run: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(tiny_run, run)
    (run / "model").rename(moved)
    (run / "model").symlink_to(moved)
    before = {path: path.read_bytes() for path in moved.rglob("*") if path.is_file()}
    said = erasure("erase", "--recipe", tiny_recipe, "--steps", 1, "--out", run, "--force")
    assert said.code == 0, said.err
    assert not (run / "model").is_symlink()
    assert (run / "model" / "model_index.json").is_file()
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_is_written_through_a_link_to_a_folder_that_is_not_there(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "far" / "runs")
    out = tmp_path / "link" / "church"
    said = erasure("erase", "--recipe", tiny_recipe, "--steps", 1, "--out", out)
    assert said.code == 0, said.err
    assert json.loads((tmp_path / "far" / "runs" / "church" / "erasure.json").read_text())


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "RUN", "--against", "RUN", "--suite", "canvas", "--limit", 4),
        ("evaluate", "--compare", "RUN", "RUN"),
    ],
)
def test_a_file_in_the_place_of_a_folder_is_wrong_input(
    words: tuple[Any, ...], tiny_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "file"
    out.write_text("mine")
    said = erasure(*(tiny_run if word == "RUN" else word for word in words), "--out", out)
    assert_told(said, 2, f"{out} is a file; give the path of a folder")
    assert out.read_text() == "mine"


def test_what_leads_nowhere_in_particular_stays_as_it_was_named(tmp_path: Path) -> None:
    circle, folder = tmp_path / "circle", tmp_path / "folder"
    circle.symlink_to(circle)
    folder.mkdir()
    (tmp_path / "linked").symlink_to(folder)
    assert followed(circle) == circle
    assert followed(Path("out/x")) == Path("out/x")
    for long in (Path("x" * 300), Path("x" * 300) / "y"):  # of more bytes than disks take
        assert followed(long) == long
    assert followed(tmp_path / "linked" / "x") == tmp_path / "linked" / "x"
    assert followed(tmp_path / "linked") == folder.resolve()


def test_of_a_link_to_a_folder_the_link_alone_is_removed(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    link.symlink_to(folder)
    remove_folder(link)
    assert (link.is_symlink(), (folder / "mine").is_file()) == (False, True)
    remove_folder(folder)
    remove_folder(folder)
    assert not folder.exists()
