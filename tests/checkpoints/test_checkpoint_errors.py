"""Bad input: one sentence that says what was found and what to do, and nothing half-written."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.leftovers import aside_by_the_dead

from erasure.checkpoints import (
    Checkpoint,
    folder_size,
    read_checkpoint,
    require_space,
    write_folder,
    write_single_file,
)
from erasure.checkpoints.writing import folder as writer
from erasure.errors import CheckpointError, DiskError


@pytest.fixture(scope="module")
def loaded(sd1: Path) -> Checkpoint:
    return read_checkpoint(sd1)


@pytest.fixture
def file(sd1_file: Path, tmp_path: Path) -> Path:
    """A good single file to spoil."""
    return Path(shutil.copy(sd1_file, tmp_path / "good.safetensors"))


@pytest.fixture
def folder(sd1: Path, tmp_path: Path) -> Path:
    """A good folder to spoil."""
    return Path(shutil.copytree(sd1, tmp_path / "folder"))


def left_over(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.suffix in (".part", ".replaced"))


# Reading


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors does not exist; give a"):
        read_checkpoint(tmp_path / "nothing.safetensors")


def test_a_folder_that_is_no_pipeline(tmp_path: Path, file: Path) -> None:
    with pytest.raises(CheckpointError, match=r"without model_index\.json"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="is no diffusers folder"):
        read_checkpoint(file, config=tmp_path)


@pytest.mark.parametrize("name", ["model_index.json", "unet/config.json"])
@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_configs_that_are_missing_or_damaged(folder: Path, name: str, content: str | None) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(CheckpointError, match=Path(name).name):
        read_checkpoint(folder)


def test_a_config_that_describes_no_model(folder: Path) -> None:
    config = json.loads((folder / "unet" / "config.json").read_text())
    config["down_block_types"] = ["NoSuchBlock"] * 4
    (folder / "unet" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"unet/config.json describes no such model"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: data[: len(data) // 2], "damaged or cut short"),
        (lambda data: data[:5], "damaged or cut short"),
        (lambda data: b"", "damaged or cut short"),
        (lambda data: b"<!doctype html>" + data, "damaged or cut short"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (lambda data: b"PK\x03\x04" + data, "is a pickle"),
    ],
)
def test_damaged_files(file: Path, spoil: Callable[[bytes], bytes], says: str) -> None:
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(file)


def test_a_damaged_weights_file_in_a_folder(folder: Path) -> None:
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=r"vae.*damaged or cut short"):
        read_checkpoint(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"has no diffusion_pytorch_model\.safetensors"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("conditioner.embedders.0.transformer.text_model.x", "Stable Diffusion XL"),
        ("model.diffusion_model.joint_blocks.0.x", "Stable Diffusion 3"),
        ("double_blocks.0.img_attn.qkv.weight", r"FLUX\.1"),
        ("control_model.input_blocks.0.0.weight", "ControlNet"),
        ("down_blocks.0.resnets.0.norm1.weight", "UNet of a diffusers folder"),
        ("decoder.conv_in.weight", "a VAE"),
        ("text_model.embeddings.token_embedding.weight", "a text encoder"),
        ("emb_params", "textual inversion"),
        ("layer1.0.conv1.weight", "no network of a known family"),
        ("model.diffusion_model.input_blocks.0.0.weight", "without the text encoder"),
    ],
)
def test_other_architectures_are_called_by_their_name(tmp_path: Path, name: str, says: str) -> None:
    save_file({name: torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=says) as caught:
        read_checkpoint(tmp_path / "other.safetensors")
    supported = "Stable Diffusion 1.x, Stable Diffusion 2.x, Stable Diffusion XL"
    assert supported in str(caught.value)


def test_a_lora_is_called_one_and_not_a_model(tmp_path: Path) -> None:
    name = "lora_unet_down_blocks_0.lora_down.weight"
    save_file({name: torch.zeros(1)}, tmp_path / "lora.safetensors")
    with pytest.raises(CheckpointError, match=r"holds a LoRA and no model; .* --lora FILE"):
        read_checkpoint(tmp_path / "lora.safetensors")


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_chroma_is_no_incomplete_flux(tmp_path: Path, prefix: str) -> None:
    names = ("img_in.weight", "double_blocks.0.img_attn.qkv.weight")
    weights = {f"{prefix}{name}": torch.zeros(1) for name in names}
    weights[f"{prefix}distilled_guidance_layer.in_proj.weight"] = torch.zeros(1)
    save_file(weights, tmp_path / "chroma.safetensors")
    with pytest.raises(CheckpointError, match="holds Chroma, a kin of FLUX"):
        read_checkpoint(tmp_path / "chroma.safetensors")


def test_an_sdxl_file_with_a_unet_is_still_sdxl(file: Path) -> None:
    tensors = load_file(file)
    names = {n.replace("cond_stage_model.", "conditioner.embedders.0."): n for n in tensors}
    save_file({new: tensors[old] for new, old in names.items()}, file)
    with pytest.raises(CheckpointError, match="Stable Diffusion XL"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("StableDiffusionXLPipeline", "is a Stable Diffusion XL pipeline"),
        ("StableDiffusion3Pipeline", "is a Stable Diffusion 3 pipeline"),
        ("KandinskyPipeline", "is a KandinskyPipeline"),
    ],
)
def test_other_pipelines_are_called_by_their_name(folder: Path, kind: str, says: str) -> None:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(folder)


def test_a_scheduler_of_another_kind_is_refused_wherever_it_stands(
    file: Path, folder: Path, loaded: Checkpoint, tmp_path: Path
) -> None:
    says = "is 'FlowMatchEulerDiscreteScheduler', which is of flow matching"
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    for path, config in ((folder, None), (file, folder)):
        with pytest.raises(CheckpointError, match=says):
            read_checkpoint(path, config=config)
    flow = replace(loaded, description=replace(loaded.description, scheduler=scheduler))
    write_single_file(flow, tmp_path / "own.safetensors")  # its header holds that config
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(tmp_path / "own.safetensors")


def test_what_a_scheduler_config_leaves_out_is_that_of_its_class(folder: Path) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({"_class_name": "DDIMScheduler", "beta_schedule": "linear"}))
    scheduler = read_checkpoint(folder).description.scheduler
    assert (scheduler["beta_start"], scheduler["beta_end"]) == (1e-4, 0.02)
    assert (scheduler["num_train_timesteps"], scheduler["prediction_type"]) == (1000, "epsilon")


def test_missing_weights_are_counted_and_a_few_are_named(file: Path, folder: Path) -> None:
    tensors = load_file(file)
    for name in [n for n in tensors if ".input_blocks.2." in n or "middle_block.0" in n]:
        del tensors[name]
    save_file(tensors, file)
    with pytest.raises(
        CheckpointError, match=r"lacks 1\d of \d+ weights \(model\.diffusion.*and \d+ more\)"
    ):
        read_checkpoint(file, config=folder)
    weights = folder / "text_encoder" / "model.safetensors"
    some = load_file(weights)
    some.pop(next(name for name in some if name.endswith("final_layer_norm.bias")))
    save_file(some, weights)
    with pytest.raises(CheckpointError, match=r"text_encoder lacks 1 of \d+ weights \(text_model"):
        read_checkpoint(folder)


def test_weights_that_do_not_belong_or_do_not_fit(file: Path, folder: Path) -> None:
    good = load_file(file)
    save_file({**good, "model.diffusion_model.motion.weight": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=r"1 weight its architecture has no place for"):
        read_checkpoint(file, config=folder)
    save_file({**good, "model.diffusion_model.out.2.bias": torch.zeros(9)}, file)
    with pytest.raises(CheckpointError, match=r"conv_out.bias is \[9\], not \[4\]"):
        read_checkpoint(file, config=folder)
    save_file(good, file)  # our header is gone, and with it the sizes
    with pytest.raises(CheckpointError, match=r"config=FOLDER"):
        read_checkpoint(file)


def test_a_config_of_another_family(file: Path, folders: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError, match=r"is Stable Diffusion 1\.x, but config"):
        read_checkpoint(file, config=folders["sd2"])


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin"])
def test_pickles_are_refused_and_read_only_on_request(
    file: Path, folder: Path, suffix: str
) -> None:
    pickled = file.with_suffix(suffix)
    torch.save({"state_dict": load_file(file), "global_step": 7}, pickled)
    with pytest.raises(CheckpointError, match=r"is a pickle.*convert it to \.safetensors"):
        read_checkpoint(pickled, config=folder)
    unpickled = read_checkpoint(pickled, config=folder, allow_pickle=True)
    assert unpickled.network_hash() == read_checkpoint(file).network_hash()


class Harmful(NamedTuple):
    """Not in the list of what `weights_only` lets through."""

    value: int


def test_a_pickle_with_code_is_refused_even_on_request(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "callback": Harmful(1)}, tmp_path / "bad.ckpt")
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        read_checkpoint(tmp_path / "bad.ckpt", allow_pickle=True)
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(CheckpointError, match="holds no named tensors"):
        read_checkpoint(tmp_path / "list.ckpt", allow_pickle=True)
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "bad.ckpt").read_bytes()[:100])
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(tmp_path / "cut.ckpt", allow_pickle=True)


def test_pickled_weights_in_a_folder(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    wanted = read_checkpoint(folder).network_hash()
    weights.unlink()
    with pytest.raises(CheckpointError, match="is a pickle"):
        read_checkpoint(folder)
    assert read_checkpoint(folder, allow_pickle=True).network_hash() == wanted


def test_damaged_configs_in_our_header(file: Path) -> None:
    save_file(load_file(file), file, metadata={"erasure.configs": "{"})
    with pytest.raises(CheckpointError, match="damaged configs in its header"):
        read_checkpoint(file)


def test_a_file_without_a_vocabulary_is_read_but_makes_no_folder(
    file: Path, tmp_path: Path, loaded: Checkpoint
) -> None:
    header = {"erasure.configs": json.dumps(loaded.description.configs())}
    save_file(load_file(file), file, metadata=header)
    mute = read_checkpoint(file)
    write_single_file(mute, tmp_path / "copy.safetensors")
    with pytest.raises(CheckpointError, match=r"has no tokenizer.* give config=FOLDER"):
        write_folder(mute, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


# Writing


def test_existing_output_is_kept_unless_forced(
    loaded: Checkpoint, folder: Path, file: Path, tmp_path: Path
) -> None:
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"folder exists; give another path, or force=True"):
        write_folder(loaded, folder)
    assert (folder / "mine.txt").exists()
    before = file.read_bytes()
    with pytest.raises(CheckpointError, match=r"exists; give another path, or force=True"):
        write_single_file(loaded, file)
    assert file.read_bytes() == before

    write_folder(loaded, folder, force=True)
    assert not (folder / "mine.txt").exists()
    write_single_file(loaded, file, dtype=torch.float16, force=True)
    assert file.read_bytes() != before
    assert left_over(tmp_path) == []


def test_a_checkpoint_can_replace_itself(folder: Path) -> None:
    wanted = read_checkpoint(folder).network_hash()
    write_folder(read_checkpoint(folder), folder, force=True)
    assert read_checkpoint(folder).network_hash() == wanted


def test_force_does_not_remove_what_is_no_model(loaded: Checkpoint, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "letters.txt").write_text("dear")
    in_the_way = tmp_path / "x.safetensors"
    in_the_way.mkdir()
    with pytest.raises(CheckpointError, match="is not empty and no diffusers folder"):
        write_folder(loaded, home, force=True)
    with pytest.raises(CheckpointError, match="is a file; give the path of a folder"):
        write_folder(loaded, home / "letters.txt", force=True)
    with pytest.raises(CheckpointError, match="is a folder; give the path of a file"):
        write_single_file(loaded, in_the_way, force=True)
    with pytest.raises(CheckpointError, match=r"must end in \.safetensors"):
        write_single_file(loaded, tmp_path / "model.ckpt")


def test_a_unet_of_another_model_is_refused(loaded: Checkpoint, tmp_path: Path) -> None:
    fewer = dict(loaded.network)
    fewer.pop("conv_in.bias")
    with pytest.raises(CheckpointError, match=r"the new UNet lacks 1 of \d+ weights"):
        write_single_file(loaded, tmp_path / "x.safetensors", network=fewer)
    other = {**loaded.network, "conv_in.bias": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="the new UNet has 1 weight of another shape"):
        write_folder(loaded, tmp_path / "x", network=other)


@pytest.mark.crossed
@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission is denied"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_refuses_leaves_nothing_behind(
    loaded: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    says: str,
    call: str,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(CheckpointError, match=rf"cannot write .*{says}"):
        write_folder(loaded, tmp_path / "model")
    with pytest.raises(CheckpointError, match=says):
        write_single_file(loaded, tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_keeps_the_old_folder(
    loaded: Checkpoint, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def refuse(source: Path, target: Path) -> None:
        if Path(target) == folder and Path(source).name.endswith(".part"):
            raise OSError(errno.ENOSPC, "full")
        real(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="the disk is full"):
        write_folder(loaded, folder, force=True)
    assert (folder / "mine.txt").exists()
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("new_in_place", [True, False])
def test_what_a_killed_replacement_left_is_no_obstacle(
    loaded: Checkpoint, folder: Path, tmp_path: Path, new_in_place: bool
) -> None:
    aside = aside_by_the_dead(folder)
    shutil.copytree(folder, aside)
    (aside / "model_index.json").unlink()
    if not new_in_place:
        shutil.rmtree(folder)
    write_folder(loaded, folder, force=True)
    assert read_checkpoint(folder).network_hash() == loaded.network_hash()
    assert left_over(tmp_path) == []


def test_a_folder_of_a_name_that_we_do_not_use_stays(
    loaded: Checkpoint, folder: Path, tmp_path: Path
) -> None:
    mine = [tmp_path / f"{folder.name}.{end}" for end in ("old", "replaced", "part", "b")]
    for one in (*mine, other := aside_by_the_dead(mine[-1])):
        one.mkdir()
    write_folder(loaded, folder, force=True)
    assert all(one.exists() for one in (*mine, other))
    shutil.rmtree(folder)
    write_folder(loaded, folder)
    assert all(one.exists() for one in (*mine, other))


def test_a_link_to_a_folder_stays_one(loaded: Checkpoint, folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)
    (folder / "older.txt").write_text("")
    for _ in range(2):
        write_folder(loaded, link, force=True)
        assert link.readlink() == folder
        assert not (folder / "older.txt").exists()
        assert read_checkpoint(link).network_hash() == loaded.network_hash()
    assert left_over(tmp_path) == []


def test_a_folder_that_another_process_has_written_meanwhile_is_not_replaced(
    loaded: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, hashed = tmp_path / "model", writer.outgoing

    def slow(*values: Any) -> object:  # noqa: ANN401
        monkeypatch.setattr(writer, "outgoing", hashed)
        write_folder(loaded, folder, card="of the other")
        return hashed(*values)

    monkeypatch.setattr(writer, "outgoing", slow)
    with pytest.raises(CheckpointError, match="exists; give another path"):
        write_folder(loaded, folder)
    assert (folder / "README.md").read_text() == "of the other"


def test_an_older_folder_goes_back_where_its_replacement_fails(
    loaded: Checkpoint, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    folder.rename(aside_by_the_dead(folder))  # killed between the two renames
    monkeypatch.setattr("erasure.checkpoints.writing.folder._write_weights", refuse)
    with pytest.raises(CheckpointError, match="the disk is full"):
        write_folder(loaded, folder)
    monkeypatch.undo()
    assert read_checkpoint(folder).network_hash() == loaded.network_hash()


def test_what_is_said_names_the_folder_that_was_asked_for(
    loaded: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DiskError, match=re.escape(f"cannot write {tmp_path / 'model'}: the disk")):
        write_folder(loaded, tmp_path / "model")


def test_space_is_checked_before_anything_is_written(
    loaded: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_space(tmp_path / "not" / "there", 1)
    usage = shutil.disk_usage(tmp_path)
    with pytest.raises(CheckpointError, match=r"needs .* MB and .* has .* MB free"):
        require_space(tmp_path / "not" / "there", usage.total + 1)
    free = usage._replace(free=folder_size(loaded) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    for write, name in ((write_folder, "model"), (write_single_file, "model.safetensors")):
        with pytest.raises(CheckpointError, match="free some space"):
            write(loaded, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    half = folder_size(loaded, torch.float16)
    assert half * 2 == folder_size(loaded)
