"""Files of a model whose names no copy can have: told before any work, not when it is written."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from erasure.checkpoints import Checkpoint, read_checkpoint, verify, write_folder
from erasure.errors import CheckpointError

ZONE = ":Zone.Identifier"


@pytest.fixture
def model(tiny_folder: Path, tmp_path: Path) -> Path:
    """A folder with a component that is carried along."""
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"safety_checker": ["a", "B"]}))
    (folder / "safety_checker" / "deep").mkdir(parents=True, exist_ok=True)
    (folder / "safety_checker" / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize("place", ["tokenizer", ".", "safety_checker", "safety_checker/deep"])
@pytest.mark.parametrize("name", [b"LICENSE-caf\xe9", b"LICENSE\n.txt", b"LICENSE:x", b"LICENSE\\"])
def test_a_name_that_no_copy_can_have_is_refused_when_it_is_read(
    name: bytes, place: str, model: Path
) -> None:
    (model / place / os.fsdecode(name)).write_text("")
    with pytest.raises(CheckpointError, match="rename it, or take it out") as refused:
        read_checkpoint(model)
    str(refused.value).encode()  # shown as it is escaped
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("place", ["tokenizer", ".", "safety_checker", "safety_checker/deep"])
def test_the_notes_that_windows_writes_beside_files_are_left_out(
    place: str, model: Path, tmp_path: Path
) -> None:
    (model / place / f"LICENSE{ZONE}").write_text("[ZoneTransfer]")
    written = write_folder(read_checkpoint(model), tmp_path / "copy").path
    assert not list(written.rglob(f"*{ZONE}"))


def test_half_a_surrogate_pair_beside_a_folder_stays_as_it_was_escaped(
    model: Path, tmp_path: Path
) -> None:
    settings = '{"name_or_path": "/home/someone/model", "odd": "\\ud800"}'
    (model / "tokenizer" / "own.json").write_text(settings)
    written = write_folder(read_checkpoint(model), tmp_path / "copy").path
    assert json.loads((written / "tokenizer" / "own.json").read_text()) == {
        "name_or_path": "model",
        "odd": "\ud800",
    }


LONG = ("a" * 300, "\u00e9" * 150)
"""They have more bytes than the name of a file may have."""


@pytest.mark.parametrize("name", LONG)
def test_a_name_in_a_file_that_is_too_long_for_a_disk_is_one_sentence(
    name: str, model: Path, tmp_path: Path
) -> None:
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps(index | {name: ["a", "B"]}))
    with pytest.raises(CheckpointError, match="is not a bare name"):
        read_checkpoint(model)
    (model / "model_index.json").write_text(json.dumps(index))
    (file,) = (model / "unet").glob("*.safetensors")
    shards = json.dumps({"weight_map": {"w": f"{name}.safetensors"}})
    file.with_name(f"{file.name}.index.json").write_text(shards)
    file.unlink()
    with pytest.raises(CheckpointError, match="is not a bare name"):
        read_checkpoint(model)


@pytest.mark.parametrize("name", [*LONG, "a/" * 3000 + "b", "nul\0", "unet/../../x"])
def test_a_record_of_a_file_that_cannot_be_fails_its_check(
    name: str, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    written = write_folder(tiny_checkpoint, tmp_path / "copy").path
    record = json.loads((written / "erasure.json").read_text())
    record["files"][name] = "0" * 64
    (written / "erasure.json").write_text(json.dumps(record))
    (check,) = [check for check in verify(written).checks if check.name == name]
    assert check.actual == "not there"


FORBIDDEN = ("tokenizer/tokenizer_config.json", "safety_checker/config.json", "safety_checker/deep")


@pytest.mark.parametrize("place", FORBIDDEN)
def test_what_may_not_be_read_is_told_before_any_work(
    place: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may = os.access
    forbidden = model / place
    monkeypatch.setattr(os, "access", lambda path, how: path != forbidden and may(path, how))
    with pytest.raises(CheckpointError, match=rf"{place} may not be read, and a copy"):
        read_checkpoint(model)


def test_a_folder_that_may_not_be_listed_is_named(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> Iterator[Path]:
        if folder.name == "tokenizer":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return listed(folder)

    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(CheckpointError, match=r"tokenizer may not be read"):
        read_checkpoint(model)
