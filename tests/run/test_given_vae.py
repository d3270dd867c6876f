"""`--vae` on the command line: every command that opens a model takes it; the record says so."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from support.console import erasure
from support.refusals import single_file

from erasure.checkpoints import read_checkpoint
from erasure.storage.tensors.hashing import weights_hash


@pytest.fixture
def partial(tiny_folder: Path, tmp_path: Path) -> Path:
    """A single file without a VAE."""
    path = single_file(tiny_folder, tmp_path)
    rest = {k: v for k, v in load_file(path).items() if not k.startswith("first_stage_model.")}
    save_file(rest, path)
    return path


@pytest.mark.slow
def test_an_erasure_from_a_file_without_a_vae(
    partial: Path, tiny_folder: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    configs = tmp_path / "configs"
    shutil.copytree(tiny_folder, configs, ignore=shutil.ignore_patterns("*.safetensors"))
    line = ["erase", partial, "--recipe", tiny_recipe, "--steps", 2, "--config", configs]
    line += ["--out", tmp_path / "run"]
    said = erasure(*line)
    assert said.code == 2
    assert "has no VAE; give --vae FILE_OR_FOLDER" in said.err.splitlines()[-1]
    said = erasure(*line, "--vae", tiny_folder / "vae")
    assert said.code == 0, said.err
    made = read_checkpoint(tmp_path / "run" / "model").components["vae"]
    assert weights_hash(made) == weights_hash(read_checkpoint(tiny_folder).components["vae"])
    record = json.loads((tmp_path / "run" / "erasure.json").read_text(encoding="utf-8"))
    assert record["config"]["notes"] == ["the VAE of vae is used"]


@pytest.mark.parametrize(
    "line",
    [
        ("export", "MODEL", "--out", "out.safetensors"),
        (
            *("evaluate", "MODEL", "--against", "MODEL", "--suite", "canvas", "--limit", 1),
            *("--steps", 1, "--device", "cpu", "--out", "evaluated"),
        ),
        (
            "compare",
            "MODEL",
            "MODEL",
            "--prompt",
            "x",
            "--seeds",
            0,
            "--steps",
            1,
            "--out",
            "o.png",
        ),
    ],
)
def test_other_commands_take_it_too(
    line: tuple[object, ...],
    partial: Path,
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [partial if word == "MODEL" else word for word in line]
    vae = tiny_folder / "vae"
    said = erasure(*words, "--config", tiny_folder, "--vae", vae)
    assert said.code == 0, said.err
    assert f"the VAE of {vae} is used" in caplog.text
