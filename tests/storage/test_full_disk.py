"""A disk that is full at any write: one sentence, and what was there is still there."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from support.console import PATIENCE, ROOT, erasure
from support.models.tiny_models import SMALL, write_pipeline
from support.tiny import seeded

from erasure.checkpoints import read_checkpoint, write_folder, write_single_file
from erasure.errors import DiskError
from erasure.masks.mask_file import load_mask, save_mask
from erasure.masks.masks import random_mask
from erasure.patches.patch import make_patch
from erasure.patches.patch_file import save_patch
from erasure.storage.cache import TensorCache

Filling = Callable[[Path, Callable[[int, str], bool]], AbstractContextManager[Any]]
WEIGHTS = {"a": torch.randn(3, 4, generator=seeded()), "b": torch.randn(5, generator=seeded(1))}
MASK = random_mask(WEIGHTS, 0.5, seeded())


@pytest.fixture
def filling(monkeypatch: pytest.MonkeyPatch) -> Filling:
    """The function `filling` of `benchmarks/faults/filling.py`."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "faults"))
    module: Filling = importlib.import_module("filling").filling
    return module


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def fails_until_it_fits(folder: Path, filling: Filling, write: Callable[[], object]) -> list[str]:
    """Write again and again, each time with space for one operation more, until it succeeds.

    Returns the operations that took space.
    """
    before, operations = contents(folder), list[str]()

    def fills(number: int, operation: str) -> bool:
        if number > len(operations):
            operations.append(operation)
            return True
        return False

    while True:
        tried = len(operations)
        with filling(folder, fills) as disk:
            try:
                write()
            except DiskError as err:
                assert f"cannot write {folder}" in str(err), operations[-1]  # noqa: PT017
                assert "the disk is full; free some space" in str(err), operations[-1]  # noqa: PT017
        if not disk.full:
            return operations
        assert len(operations) == tried + 1
        assert contents(folder) == before, operations[-1]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: save_mask(path, MASK),
        lambda path: save_patch(path, make_patch(WEIGHTS, {k: v + 1 for k, v in WEIGHTS.items()})),
        lambda path: TensorCache(path.parents[1]).keep("kind", "key", WEIGHTS),
    ],
    ids=["mask", "patch", "cache"],
)
@pytest.mark.parametrize("old", [True, False])
def test_a_file_is_whole_or_as_it_was_whichever_write_finds_no_space(
    tmp_path: Path, filling: Filling, write: Callable[[Path], None], old: bool
) -> None:
    path = tmp_path / "kind" / "key.safetensors"
    path.parent.mkdir()
    if old:
        path.write_text("old")
    operations = fails_until_it_fits(tmp_path, filling, lambda: write(path))
    kinds = {operation.split()[0] for operation in operations}
    assert kinds == {"new", "write", "sync", "rename"}
    assert list(contents(tmp_path)) == ["kind/key.safetensors"]


def test_the_bytes_of_a_mask_are_always_the_same(tmp_path: Path) -> None:
    for name in "ab":
        save_mask(tmp_path / name, MASK)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert torch.equal(load_mask(tmp_path / "a").entries["a"], MASK.entries["a"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pipeline(tmp_path_factory.mktemp("full") / "model", SMALL)


@pytest.mark.default("False")
@pytest.mark.parametrize("as_folder", [True, False])
def test_a_model_is_whole_or_the_one_before_whichever_write_finds_no_space(
    tmp_path: Path,
    filling: Filling,
    model: Path,
    as_folder: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkpoint = read_checkpoint(model)
    # Without it a file differs from one that was written a second earlier.
    monkeypatch.setattr(
        "erasure.checkpoints.writing.single_file.utc_now", lambda: "2026-01-01T00:00:00Z"
    )
    path = tmp_path / ("model" if as_folder else "model.safetensors")
    write: Any = write_folder if as_folder else write_single_file
    write(checkpoint, path)
    before = contents(tmp_path)
    last: dict[str, int] = {}  # operation -> where it comes last; a file takes many writes

    def count(number: int, operation: str) -> bool:
        last[operation] = number
        return False

    with filling(tmp_path, count):
        write(checkpoint, path, dtype=torch.float16, force=True)
    assert set(contents(tmp_path)) == set(before)
    assert contents(tmp_path) != before
    write(checkpoint, path, force=True)
    for operation, place in last.items():
        with (
            filling(tmp_path, lambda number, _, at=place: number == at),  # type: ignore[misc]
            pytest.raises(DiskError, match=r"cannot write .*: the disk is full; free some space"),
        ):
            write(checkpoint, path, dtype=torch.float16, force=True)
        assert contents(tmp_path) == before, operation


def test_a_command_says_it_in_one_sentence(
    tiny_run: Path, tmp_path: Path, filling: Filling
) -> None:
    out = tmp_path / "one.safetensors"
    with filling(tmp_path, lambda number, _: number == 2):
        said = erasure("export", tiny_run, "--out", out)
    assert said.code == 1
    assert said.err.splitlines()[-1] == (
        f"erasure: cannot write {out}: the disk is full; free some space or write elsewhere"
    )
    assert contents(tmp_path) == {}
    assert erasure("export", tiny_run, "--out", out).code == 0


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, as Linux has it")
def test_a_full_disk_behind_stdout_is_one_sentence_too() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "prompts", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            check=False,
            timeout=PATIENCE,
        )
    assert done.returncode == 1
    assert done.stderr == (
        "erasure: cannot write the output: the disk is full; free some space or write elsewhere\n"
    )


def test_what_the_measuring_scripts_import_beforehand_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "faults"))
    names = importlib.import_module("killable").PRELOADED
    assert [name for name in names if importlib.util.find_spec(name) is None] == []
