"""Files of a model whose names no copy can have: told before any work, not when it is written."""

import json
import os
import shutil
from pathlib import Path

import pytest

from erasure.checkpoints import read_checkpoint, write_folder
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
