"""Places that cannot be written to, or hold what is not to be lost."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.console import erasure
from support.refusals import (
    CHURCH,
    LINES,
    assert_told,
    few_steps,
    line_of,
)


def test_nothing_that_exists_is_overwritten(
    tiny_run: Path, tiny_recipe: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    run, file, folder = tmp_path / "run", tmp_path / "out.safetensors", tmp_path / "folder"
    shutil.copytree(tiny_run, run)
    shutil.copytree(tiny_run / "model", folder)
    for name in ("out.safetensors", "out.png", "grid.png", "grid.json"):
        (tmp_path / name).write_text("mine", encoding="utf-8")
    compare = ("compare", tiny_run, tiny_run, "--prompt", "x", "--out")
    refused(("erase", "--recipe", tiny_recipe, "--out", run), "--force")
    refused(("export", tiny_run, "--out", file), "--force")
    refused(("export", tiny_run, "--to", "diffusers", "--out", folder), "--force")
    refused(("mask", tiny_run, *CHURCH, "--out", file), "--force")
    refused(
        (
            "mask",
            tiny_run,
            *CHURCH,
            "--out",
            tmp_path / "new.safetensors",
            "--plot",
            tmp_path / "out.png",
        ),
        "out.png exists",
    )
    refused((*compare, tmp_path / "grid.png"), "--force")
    (tmp_path / "grid.png").unlink()
    refused((*compare, tmp_path / "grid.png"), "grid.json exists")


def test_force_deletes_no_folder_that_is_no_run(
    tiny_run: Path,
    tiny_folder: Path,
    tiny_recipe: Path,
    tmp_path: Path,
    refused: Callable[..., None],
) -> None:
    home, model = tmp_path / "home", tmp_path / "model"
    home.mkdir()
    (home / "thesis.tex").write_text("all of it", encoding="utf-8")
    (home / "recipe.toml").write_text("flour = 200", encoding="utf-8")
    shutil.copytree(tiny_folder, model)
    for out in (home, model):
        for flags in ((), ("--force",), ("--resume",)):
            refused(("erase", "--recipe", tiny_recipe, "--out", out, *flags), out)
    refused(("export", tiny_run, "--to", "diffusers", "--out", home, "--force"), home)
    refused(
        ("erase", "--recipe", tiny_recipe, "--out", home / "thesis.tex", "--force"), "is a file"
    )
    refused(("erase", "--recipe", tiny_recipe, "--out", home / "thesis.tex" / "run"), "is a file")
    # A recipe that was copied from a run, beside the model it is about.
    shutil.copytree(tiny_folder, tmp_path / "work" / "model")
    shutil.copy(tiny_run / "recipe.toml", tmp_path / "work")
    line = ("erase", "--recipe", tiny_recipe, "--out", tmp_path / "work", "--force")
    refused(line, "no result of erasure")


def test_force_does_not_replace_the_model_it_reads(
    tiny_run: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    for model in (tmp_path / "run", tmp_path / "run" / "model"):
        line = ("erase", model, *CHURCH, "--out", tmp_path / "run", "--force")
        refused(line, "lies in")


def test_resume_refuses_other_settings_and_finished_runs(
    tiny_run: Path, tiny_recipe: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    line = ("erase", "--recipe", tiny_recipe, "--steps", 3, "--out", tmp_path / "run", "--resume")
    refused(line, "is finished")
    (tmp_path / "run" / "erasure.json").unlink()
    refused((*line, "--seed", 7), "other settings")


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.crossed
@pytest.mark.parametrize(
    ("fail", "words"), [(no_space, "the disk is full"), (read_only, "read-only")]
)
@pytest.mark.parametrize("parts", LINES)
def test_a_disk_that_refuses_is_told_and_nothing_half_written_stays(
    parts: tuple[Any, ...],
    fail: Callable[..., None],
    words: str,
    tiny_folder: Path,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:
    line = line_of(parts, tiny_folder, tmp_path, cache)
    if parts[0] == "erase":
        line += ["--recipe", few_steps(cache)]
    with monkeypatch.context() as patch:
        replace = os.replace

        def put(source: str, target: str) -> None:
            fail() if Path(target).is_relative_to(tmp_path) else replace(source, target)

        patch.setattr(os, "replace", put)
        said = erasure(*line)
    assert_told(said, 1, words)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("parts", LINES[:3])
def test_too_small_a_disk_is_told_before_the_work_begins(
    parts: tuple[Any, ...],
    tiny_folder: Path,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    line = tuple(line_of(parts, tiny_folder, tmp_path, cache))
    refused(line, "free some space or write elsewhere", code=1)


def test_a_place_that_cannot_be_written_to_is_told_before_the_work_begins(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:
    real = os.access  # for root all is writable
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and real(path, mode))
    line = ("erase", tiny_folder, *CHURCH, "--out", tmp_path / "run")
    refused(line, f"{tmp_path} cannot be written to", code=1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command to make a small disk with")
    if done.returncode:
        pytest.skip("only root may mount the small disk that this test fills")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("parts", LINES)
def test_a_disk_that_fills_up_on_the_way_holds_no_half_file(
    parts: tuple[Any, ...],
    tiny_folder: Path,
    small_disk: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = shutil.disk_usage("/")._replace(free=1 << 40)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)  # as if filled by another program
    (small_disk / "filler").write_bytes(bytes(96 << 10))
    line = line_of(parts, tiny_folder, small_disk, cache)
    if parts[0] == "erase":
        line += ["--recipe", few_steps(cache)]
    assert_told(erasure(*line), 1, "cannot write")
    left = {path.name for path in small_disk.rglob("*") if path.is_file()}
    assert left <= {"filler", "recipe.toml"}
