"""Several writers of one file, and what dead ones leave."""

import errno
import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.forked import forked
from support.leftovers import left_by_the_dead

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.writing.folder import write_folder
from erasure.errors import DiskError
from erasure.storage import parts
from erasure.storage.cache import TensorCache
from erasure.storage.files import atomic
from erasure.storage.parts import part_of, remove_leftovers


def test_of_two_writers_of_one_file_each_has_its_own_bytes_and_the_last_wins(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    with atomic(path) as slow:
        slow.write_text("slow, first half")
        with atomic(path) as quick:
            assert quick != slow
            quick.write_text("quick")
        assert path.read_text() == "quick"
        with slow.open("a") as file:
            file.write(", second half")
        assert path.read_text() == "quick"
    assert path.read_text() == "slow, first half, second half"
    assert os.listdir(tmp_path) == ["file"]


def test_a_writer_that_fails_takes_nothing_from_the_other(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def fail() -> None:
        with atomic(path) as part:
            part.write_text("half")
            raise OSError(errno.ENOSPC, "")

    with atomic(path) as other:
        other.write_text("whole")
        with pytest.raises(DiskError, match="the disk is full"):
            fail()
    assert path.read_text() == "whole"


def test_two_that_keep_the_older_file_both_end_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, older = tmp_path / "file", tmp_path / "file.old"
    path.write_text("old")
    put = os.replace

    def put_second(source: Path, target: Path) -> None:
        if target == older and path.exists():
            put(path, older)  # the other one, a moment earlier
        put(source, target)

    monkeypatch.setattr(os, "replace", put_second)
    with atomic(path, keep=older) as part:
        part.write_text("new")
    assert (path.read_text(), older.read_text()) == ("new", "old")


def write_often(folder: str, seconds: float) -> None:
    """Keep one tensor under one key for a while, and read it each time."""
    end, cache = time.time() + seconds, TensorCache(Path(folder))
    value = float(os.environ["RANK"])
    while time.time() < end:
        cache.keep("kind", "key", {"x": torch.full((5000,), value)})
        entry = cache.find("kind", "key")
        assert entry is not None
        assert len(entry["x"].unique()) == 1


@pytest.mark.slow
def test_processes_that_fill_one_cache_meet_whole_files_alone(tmp_path: Path) -> None:
    said = forked(write_often, str(tmp_path), 0.5, count=3)
    assert (said.code, said.err) == (0, "")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["key.safetensors"]


# ---------------------------------------------------------------------------------------------
# What dead writers leave


def named(path: Path, host: str, number: int) -> Path:
    part = path.with_name(f"{path.name}.{host}-{number}-0123abcd.part")
    part.write_text("half")
    return part


def a_day_ago(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (time.time() - 25 * 3600,) * 2)


def test_a_model_takes_its_name_when_every_file_of_it_is_on_the_disk(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    licence = tmp_path / "LICENSE"
    licence.write_text("free")
    flushed: set[int] = set()
    sync = os.fsync

    def note(file: int) -> None:
        flushed.add(os.fstat(file).st_ino)
        sync(file)

    monkeypatch.setattr(os, "fsync", note)
    carrying = replace(tiny_checkpoint, carried={"LICENSE": licence})
    written = write_folder(carrying, tmp_path / "model", card="# A card")
    files = [path for path in written.path.rglob("*") if path.is_file()]
    assert {"LICENSE", "README.md", "model_index.json"} <= {path.name for path in files}
    assert [path.name for path in files if path.stat().st_ino not in flushed] == []


def test_what_a_killed_writer_left_goes_with_the_next_write_into_its_folder(
    tmp_path: Path,
) -> None:
    left = [left_by_the_dead(tmp_path / name) for name in ("file", "other")]
    with atomic(tmp_path / "file") as part:
        part.write_text("new")
        assert not any(path.exists() for path in left)
    assert os.listdir(tmp_path) == ["file"]


def test_what_may_be_in_use_or_is_not_ours_stays(tmp_path: Path) -> None:
    mine = tmp_path / "download.part"
    mine.write_text("mine")
    own = part_of(tmp_path / "file")
    own.write_text("another thread's")
    theirs = Path(str(own).replace(f"-{os.getpid()}-", f"-{os.getppid()}-"))
    theirs.write_text("of a process that lives")
    elsewhere = named(tmp_path / "file", "00000000", 1)
    a_day_ago(mine)
    remove_leftovers(tmp_path)
    assert all(path.exists() for path in (mine, own, theirs, elsewhere))


def test_what_nobody_has_written_to_for_a_day_goes_whoever_wrote_it(tmp_path: Path) -> None:
    own, elsewhere = part_of(tmp_path / "file"), named(tmp_path / "file", "00000000", 1)
    own.write_text("of a process whose number is ours by now")
    a_day_ago(own, elsewhere)
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fresh", [True, False])
def test_a_folder_counts_as_written_to_when_anything_in_it_was(tmp_path: Path, fresh: bool) -> None:
    part = tmp_path / "model.00000000-1-0123abcd.part"
    (part / "unet").mkdir(parents=True)
    weights = part / "unet" / "weights"
    weights.write_text("half")
    a_day_ago(*([] if fresh else [weights]), part / "unet", part)
    remove_leftovers(tmp_path)
    assert part.exists() == fresh


def test_a_half_written_model_goes_with_the_next_one(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    left = left_by_the_dead(tmp_path / "model")
    left.unlink()
    (left / "unet").mkdir(parents=True)
    (left / "unet" / "weights").write_text("half")
    write_folder(tiny_checkpoint, tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]


def test_a_folder_of_many_files_is_looked_through_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., object] = os.scandir
    looked = []

    def noted(path: object) -> object:
        looked.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", noted)
    for number in range(5):
        with atomic(tmp_path / str(number)) as part:
            part.write_text("x")
    assert looked == [tmp_path]


def test_a_name_as_long_as_a_disk_takes_can_be_written(tmp_path: Path) -> None:
    for name in ("a" * 255, "é" * 127):
        with atomic(tmp_path / name) as part:
            part.write_text(name)
        assert (tmp_path / name).read_text() == name
    assert len(os.listdir(tmp_path)) == 2


def test_the_name_says_whose_it_is(tmp_path: Path) -> None:
    name = part_of(tmp_path / "file").name
    assert re.fullmatch(rf"file\.[0-9a-f]{{8}}-{os.getpid()}-[0-9a-f]{{8}}\.part", name)
    assert list(parts.parts_in(tmp_path / "none")) == []
