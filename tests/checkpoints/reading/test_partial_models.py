"""A model that lacks a component: said in one sentence, or completed from where a user points."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models.tiny_sdxl import write_sdxl

from erasure.checkpoints import Checkpoint, read_checkpoint, write_folder, write_single_file
from erasure.errors import CheckpointError
from erasure.storage.tensors.hashing import weights_hash

UNET, VAE = "model.diffusion_model.", "first_stage_model."


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sdxl(tmp_path_factory.mktemp("partial") / "sdxl")


@pytest.fixture(scope="module")
def origins(folders: dict[str, Path], sdxl: Path) -> dict[str, Path]:
    return {"sd1": folders["sd1"], "sd2": folders["sd2"], "sdxl": sdxl}


def without(folder: Path, file: Path, *prefixes: str) -> Path:
    """A single file that keeps nothing under these prefixes, nor a header of ours."""
    write_single_file(read_checkpoint(folder), file)
    save_file({k: v for k, v in load_file(file).items() if not k.startswith(prefixes)}, file)
    return file


def bare(folder: Path, file: Path) -> Path:
    """A single file with a UNet alone, without a prefix."""
    write_single_file(read_checkpoint(folder), file)
    unet = {k: v for k, v in load_file(file).items() if k.startswith(UNET)}
    save_file({k.removeprefix(UNET): v for k, v in unet.items()}, file)
    return file


def prefixed(folder: Path, file: Path) -> Path:
    bare(folder, file)
    save_file({f"{UNET}{k}": v for k, v in load_file(file).items()}, file)
    return file


def of_diffusers(folder: Path, file: Path) -> Path:
    return Path(shutil.copy(folder / "unet" / "diffusion_pytorch_model.safetensors", file))


def hashes(checkpoint: Checkpoint) -> dict[str, str]:
    return {name: weights_hash(weights) for name, weights in checkpoint.components.items()}


def with_other_vae(folder: Path, copy: Path) -> Path:
    """A copy of a folder with another VAE."""
    shutil.copytree(folder, copy)
    file = copy / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: weight + 0.125 for name, weight in load_file(file).items()}, file)
    return copy


UNETS: dict[str, Callable[[Path, Path], Path]] = {
    "bare": bare,
    "prefixed": prefixed,
    "of diffusers": of_diffusers,
}


@pytest.mark.crossed
@pytest.mark.parametrize(
    ("key", "form"),
    [
        *(("sd1", form) for form in UNETS),
        ("sd2", "prefixed"),
        ("sdxl", "bare"),
        ("sdxl", "of diffusers"),
    ],
)
def test_a_unet_alone_is_completed_from_the_config_folder(
    key: str, form: str, origins: dict[str, Path], tmp_path: Path
) -> None:
    folder = origins[key]
    file = UNETS[form](folder, tmp_path / "unet.safetensors")
    with pytest.raises(CheckpointError, match=r"holds a UNet without .*give config=FOLDER"):
        read_checkpoint(file)
    completed = read_checkpoint(file, config=folder)
    assert hashes(completed) == hashes(read_checkpoint(folder))
    for title in ("VAE", "text encoder"):
        assert f"{file} has no {title}; that of {folder} is used" in completed.notes
    write_folder(completed, tmp_path / "whole")
    assert hashes(read_checkpoint(tmp_path / "whole")) == hashes(completed)


def test_a_unet_alone_needs_weights_beside_the_configs(sd1: Path, tmp_path: Path) -> None:
    file = bare(sd1, tmp_path / "unet.safetensors")
    configs = tmp_path / "configs"
    shutil.copytree(sd1, configs, ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(CheckpointError, match=r"has no VAE; give vae=FILE_OR_FOLDER.*config="):
        read_checkpoint(file, config=configs)
    with pytest.raises(
        CheckpointError,
        match=r"has no text encoder; give text_encoders=\[FILE\] with one, or config=",
    ):
        read_checkpoint(file, config=configs, vae=sd1)


@pytest.mark.default("sd1")
@pytest.mark.parametrize("key", ["sd1", "sdxl"])
def test_a_file_without_a_vae_takes_the_given_one(
    key: str, origins: dict[str, Path], tmp_path: Path
) -> None:
    folder = origins[key]
    file = without(folder, tmp_path / "sd.safetensors", VAE)
    other = with_other_vae(folder, tmp_path / "other")
    whole = write_single_file(read_checkpoint(other), tmp_path / "whole.safetensors").path
    original = {k.removeprefix(VAE): v for k, v in load_file(whole).items() if k.startswith(VAE)}
    save_file({**original, "loss.logvar": torch.zeros(())}, tmp_path / "vae.safetensors")
    wanted = hashes(read_checkpoint(other))
    for vae in (
        other,
        other / "vae",
        other / "vae" / "diffusion_pytorch_model.safetensors",
        whole,
        tmp_path / "vae.safetensors",
    ):
        completed = read_checkpoint(file, config=folder, vae=vae)
        assert hashes(completed) == wanted
        assert f"the VAE of {vae} is used" in completed.notes
    assert hashes(read_checkpoint(file, config=folder)) == hashes(read_checkpoint(folder))


def test_a_given_vae_comes_before_the_models_own(sd1: Path, tmp_path: Path) -> None:
    other = with_other_vae(sd1, tmp_path / "other")
    file = write_single_file(read_checkpoint(sd1), tmp_path / "sd.safetensors").path
    wanted = hashes(read_checkpoint(other))
    for model in (sd1, file):
        assert hashes(read_checkpoint(model)) != wanted
        assert hashes(read_checkpoint(model, vae=other)) == wanted


def test_the_scale_of_a_given_folder_goes_with_its_vae(sd1: Path, tmp_path: Path) -> None:
    other = with_other_vae(sd1, tmp_path / "other")
    config = other / "vae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "scaling_factor": 0.5}))
    file = without(sd1, tmp_path / "sd.safetensors", VAE)
    assert (
        read_checkpoint(sd1, vae=other / "vae").description.components["vae"]["scaling_factor"]
        == 0.5
    )
    completed = read_checkpoint(file, config=sd1, vae=other)
    assert completed.description.components["vae"]["scaling_factor"] == 0.5
    config.write_text(json.dumps({**json.loads(config.read_text()), "shift_factor": 0.1}))
    with pytest.raises(CheckpointError, match="shift_factor"):
        read_checkpoint(file, config=sd1, vae=other)


@pytest.mark.parametrize("key", ["sd1", "sdxl"])
def test_a_folder_without_a_vae_takes_the_given_one(
    key: str, origins: dict[str, Path], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(origins[key], tmp_path / "copy"))
    shutil.rmtree(copy / "vae")
    index = copy / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "vae": [None, None]}))
    with pytest.raises(CheckpointError):
        read_checkpoint(copy)
    completed = read_checkpoint(copy, vae=origins[key] / "vae")
    assert hashes(completed) == hashes(read_checkpoint(origins[key]))
    write_folder(completed, tmp_path / "whole")
    assert hashes(read_checkpoint(tmp_path / "whole")) == hashes(completed)


@pytest.mark.parametrize(
    ("component", "says"),
    [
        ("vae", r"has no VAE, no folder vae; give vae=FILE_OR_FOLDER"),
        ("text_encoder", r"has no text encoder, no folder text_encoder; fetch the complete"),
        ("unet", r"has no UNet, no folder unet; fetch the complete"),
    ],
)
def test_a_folder_says_which_component_is_missing(
    component: str, says: str, sd1: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(sd1, tmp_path / "copy"))
    shutil.rmtree(copy / component)
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(copy)


def test_a_vae_that_is_none_is_refused(sd1: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no VAE .*nothing"):
        read_checkpoint(sd1, vae=tmp_path / "nothing")
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        read_checkpoint(sd1, vae=tmp_path)
    file = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=r"the VAE .*x\.safetensors lacks .* give a VAE of"):
        read_checkpoint(sd1, vae=file)
    good = load_file(sd1 / "vae" / "diffusion_pytorch_model.safetensors")
    save_file({**good, "decoder.conv_in.weight_scale": torch.ones(1)}, file)
    with pytest.raises(CheckpointError, match="holds a quantised VAE"):
        read_checkpoint(sd1, vae=file)
