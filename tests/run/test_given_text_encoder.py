"""`--text-encoder` on the command line: every command that opens a model takes it."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import save_file
from support.console import erasure
from support.models.tiny_flow import write_flux

from erasure.checkpoints import read_checkpoint, write_folder
from erasure.storage.tensors.hashing import weights_hash
from pipelines.bench.settings import BenchRecipe
from pipelines.bench.world import World
from pipelines.run.preparing import prepare


@pytest.fixture
def split(tiny_folder: Path, tmp_path: Path) -> list[str | Path]:
    """A UNet in a file, and the words that name all else that belongs to it."""
    checkpoint = read_checkpoint(tiny_folder)
    unet = tmp_path / "unet.safetensors"
    save_file(checkpoint.architecture.main_part.to_original(checkpoint.network), unet)
    configs = tmp_path / "configs"
    shutil.copytree(tiny_folder, configs, ignore=shutil.ignore_patterns("*.safetensors"))
    words = Path(shutil.copy(tiny_folder / "text_encoder" / "model.safetensors", tmp_path))
    return [
        *(unet, "--config", configs, "--vae", tiny_folder / "vae"),
        *("--text-encoder", words),
    ]


@pytest.mark.slow
def test_an_erasure_from_a_split_set(
    split: list[str | Path], tiny_folder: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    line = ["erase", *split[:-2], "--recipe", tiny_recipe, "--steps", 2, "--out", tmp_path / "run"]
    said = erasure(*line)
    assert said.code == 2
    assert "has no text encoder; give --text-encoder FILE with one" in said.err.splitlines()[-1]
    said = erasure(*line, *split[-2:])
    assert said.code == 0, said.err
    made = read_checkpoint(tmp_path / "run" / "model").components["text_encoder"]
    wanted = read_checkpoint(tiny_folder).components["text_encoder"]
    assert weights_hash(made) == weights_hash(wanted)
    record = json.loads((tmp_path / "run" / "erasure.json").read_text(encoding="utf-8"))
    assert "the text encoder of model.safetensors is used" in record["config"]["notes"]


def test_a_folder_beside_a_split_set_is_read_without_it(
    split: list[str | Path],
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    unet, *others = split
    line = ("compare", tiny_folder, unet, "--prompt", "x", "--seeds", 0, "--steps", 1)
    said = erasure(*line, *others, "--out", "grid.png")
    assert said.code == 0, said.err
    assert "the text encoder of" in caplog.text
    assert str(tmp_path) not in Path("grid.json").read_text(encoding="utf-8")
    drawn = ("--suite", "canvas", "--limit", 1, "--steps", 1, "--device", "cpu")
    said = erasure("evaluate", unet, "--against", tiny_folder, *drawn, *others, "--out", "seen")
    assert said.code == 0, said.err
    line = ("compare", tiny_folder, tiny_folder, "--prompt", "x", "--seeds", 0, "--steps", 1)
    said = erasure(*line, *others[-2:], "--out", "other.png")
    assert said.code == 2
    assert "leave --text-encoder out, or give a single file" in said.err


def test_a_split_set_of_flux_goes_out_as_it_came(tmp_path: Path) -> None:
    folder = write_flux(tmp_path / "flux")
    checkpoint = read_checkpoint(folder)
    names = checkpoint.architecture.main_part.to_original(checkpoint.network)
    save_file(names, tmp_path / "flux1.safetensors")
    texts = [
        next(folder.glob(f"{name}/*.safetensors")) for name in ("text_encoder_2", "text_encoder")
    ]
    configs = tmp_path / "configs"
    shutil.copytree(folder, configs, ignore=shutil.ignore_patterns("*.safetensors"))
    line = ["export", tmp_path / "flux1.safetensors", "--config", configs, "--vae", folder / "vae"]
    line += [word for text in texts for word in ("--text-encoder", text)]
    said = erasure(*line, "--to", "diffusers", "--out", tmp_path / "whole")
    assert said.code == 0, said.err
    assert read_checkpoint(tmp_path / "whole").hashes() == checkpoint.hashes()


def test_commands_with_several_models_say_that_none_has_a_use_for_it(
    split: list[str | Path], tiny_folder: Path, tmp_path: Path
) -> None:
    others = ("--retrained", tiny_folder, "--twin", tiny_folder)
    for line in (
        ("audit", tiny_folder, "--concept", "church"),
        ("bench", tiny_folder, "--concepts", "church"),
        ("distance", tiny_folder, "--concept", "church", *others, "--base", tiny_folder),
    ):
        said = erasure(*line, *split[-2:], "--out", tmp_path / "out")
        assert said.code == 2
        assert "leave --text-encoder out, or give a single file" in said.err, said.err


def test_a_folder_can_be_edited_with_a_split_set_as_its_origin(
    split: list[str | Path], tiny_folder: Path
) -> None:
    unet, _, configs, _, vae, _, words = map(str, split)
    files = {"config": configs, "vae": vae, "text_encoders": [words]}
    tables = {"model": str(tiny_folder), "concept": "church", "method": {"name": "esd"}}
    recipe, _ = prepare({**tables, **files, "origin": unet})
    assert recipe.origin == unet


def test_the_folders_of_a_benchmark_are_read_without_them(
    split: list[str | Path], tiny_folder: Path
) -> None:
    unet, _, configs, _, vae, _, words = map(str, split)
    recipe = BenchRecipe(model=unet, config=configs, vae=vae, text_encoders=(words,))
    world = World(recipe)
    assert world.base.hashes() == read_checkpoint(tiny_folder).hashes()
    assert world.evaluation(unet, "church").text_encoders == (words,)
    cell = world.evaluation(str(tiny_folder), "church")
    assert cell.config is None
    assert cell.text_encoders is None


def test_a_folder_goes_out_as_a_patch_of_a_split_set(
    split: list[str | Path], tiny_folder: Path, tmp_path: Path
) -> None:
    read = read_checkpoint(tiny_folder)
    name = "conv_in.bias"
    moved = read.having("unet", {**read.network, name: read.network[name] + 1})
    write_folder(moved, tmp_path / "model")
    unet, *files = split
    line = ["export", tmp_path / "model", "--to", "patch", "--base", unet]
    said = erasure(*line, *files, "--out", tmp_path / "patch.safetensors")
    assert said.code == 0, said.err
