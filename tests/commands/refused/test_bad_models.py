"""Models that are none, as every command refuses them."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.refusals import (
    CHURCH,
    UNET,
    single_file,
)


def _truncated(folder: Path, tmp_path: Path) -> Path:
    path = single_file(folder, tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def _noise(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "noise.safetensors"
    path.write_bytes(bytes(range(256)) * 40)
    return path


def _empty(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "empty.safetensors"
    path.touch()
    return path


def _missing_keys(folder: Path, tmp_path: Path) -> Path:
    path = single_file(folder, tmp_path)
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    gone = [name for name in tensors if name.startswith("first_stage_model.decoder.")][:3]
    save_file({k: v for k, v in tensors.items() if k not in gone}, path, metadata)
    return path


def _without_text_encoder(folder: Path, tmp_path: Path) -> Path:
    path = single_file(folder, tmp_path)
    rest = {k: v for k, v in load_file(path).items() if not k.startswith("cond_stage_model")}
    save_file(rest, path)
    return path


def _named(*names: str) -> Callable[[Path, Path], Path]:
    def write(folder: Path, tmp_path: Path) -> Path:
        path = tmp_path / "other.safetensors"
        save_file({name: torch.zeros(2) for name in names}, path)
        return path

    return write


def _pickle(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "sd.ckpt"
    torch.save({"state_dict": {"w": torch.zeros(2)}}, path)
    return path


def _renamed_pickle(folder: Path, tmp_path: Path) -> Path:
    return _pickle(folder, tmp_path).rename(tmp_path / "renamed.safetensors")


def _changed(change: Callable[[Path], object]) -> Callable[[Path, Path], Path]:
    def write(folder: Path, tmp_path: Path) -> Path:
        path = tmp_path / "changed"
        shutil.copytree(folder, path)
        change(path)
        return path

    return write


def _of_class(name: str) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        index = json.loads((path / "model_index.json").read_text(encoding="utf-8"))
        text = json.dumps(index | {"_class_name": name})
        (path / "model_index.json").write_text(text, encoding="utf-8")

    return change


def _scheduler(**settings: object) -> Callable[[Path], object]:
    """Change a folder's scheduler config, and leave out what is None."""

    def change(path: Path) -> None:
        file = path / "scheduler" / "scheduler_config.json"
        config = json.loads(file.read_text(encoding="utf-8")) | settings
        file.write_text(json.dumps(config), encoding="utf-8")

    return change


def _half(path: Path) -> None:
    file = path / UNET
    file.write_bytes(file.read_bytes()[:1000])


def _plain_folder(folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "cat.txt").write_text("meow", encoding="utf-8")
    return tmp_path / "plain"


BAD_MODELS: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "missing file": (lambda folder, tmp: tmp / "none.safetensors", "there is no model"),
    "missing path": (lambda folder, tmp: tmp / "no" / "such" / "place", "there is no model"),
    "long name": (lambda folder, tmp: Path("a" * 5000), "there is no model"),
    "hub id": (lambda folder, tmp: Path("nobody/nothing"), "from the hub"),
    "plain folder": (_plain_folder, "no diffusers pipeline"),
    "noise": (_noise, "is damaged"),
    "empty": (_empty, "is damaged"),
    "truncated": (_truncated, "is damaged or cut short"),
    "missing keys": (_missing_keys, "lacks 3 of"),
    "no text encoder": (_without_text_encoder, "without the text encoder"),
    "sdxl": (_named("conditioner.embedders.0.w"), "a Stable Diffusion XL checkpoint"),
    "lora": (_named("lora_unet_down.lora_down.weight"), "a LoRA"),
    "anything": (_named("w"), "no network of a known family"),
    "pickle": (_pickle, "--allow-pickle"),
    "renamed pickle": (_renamed_pickle, "--allow-pickle"),
    "sdxl folder": (_changed(_of_class("StableDiffusionXLPipeline")), "XL pipeline"),
    "other folder": (_changed(_of_class("KandinskyPipeline")), "KandinskyPipeline"),
    "truncated unet": (_changed(_half), "is damaged or cut short"),
    "no vae": (_changed(lambda path: shutil.rmtree(path / "vae")), "vae"),
    "no weights": (_changed(lambda path: (path / UNET).unlink()), "incomplete"),
    "no json": (
        _changed(lambda path: (path / "unet" / "config.json").write_text("{", encoding="utf-8")),
        "JSON",
    ),
    "edm": (_changed(_scheduler(_class_name="EDMEulerScheduler")), "continuous levels of EDM"),
    "unknown schedule": (_changed(_scheduler(beta_schedule="wild")), "beta_schedule is 'wild'"),
    "no number": (_changed(_scheduler(beta_end=float("nan"))), "beta_end is nan"),
    "no model's config": (
        _changed(lambda path: (path / "unet" / "config.json").write_text("{}", encoding="utf-8")),
        "sample_size of unet is None",
    ),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_a_model_that_is_none_is_refused(
    name: str, tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    make, words = BAD_MODELS[name]
    model = make(tiny_folder, tmp_path)
    refused(("erase", model, *CHURCH, "--out", tmp_path / "run"), words)
    refused(("export", model, "--json", "--out", tmp_path / "out.safetensors"), words)


@pytest.mark.parametrize(
    "line",
    [
        ("mask", "MODEL", *CHURCH, "--out", "OUT.safetensors"),
        ("compare", "MODEL", "demo", "--prompt", "a church", "--out", "OUT.png"),
        ("compare", "demo", "MODEL", "--prompt", "a church", "--out", "OUT.png"),
        ("verify", "MODEL"),
    ],
)
def test_every_command_refuses_a_folder_that_is_no_model(
    line: tuple[str, ...], tmp_path: Path, refused: Callable[..., None]
) -> None:
    model = _plain_folder(tmp_path, tmp_path)
    places = {"MODEL": str(model), "OUT": str(tmp_path / "out")}
    for word, place in places.items():
        line = tuple(part.replace(word, place) for part in line)
    refused(line, model)


def test_a_pickle_cannot_be_verified(tmp_path: Path, refused: Callable[..., None]) -> None:
    (tmp_path / "sd.ckpt").write_bytes(b"\x80\x04N.")
    refused(("verify", tmp_path / "sd.ckpt"), "is a pickle", "erasure export")


def test_a_pickle_that_holds_code_is_not_run(tmp_path: Path, refused: Callable[..., None]) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"w": Bomb()}, tmp_path / "sd.ckpt")
    line = ("export", tmp_path / "sd.ckpt", "--allow-pickle", "--out", tmp_path / "o.safetensors")
    refused(line, "weights_only=True")


def test_a_config_folder_that_is_none_is_refused(
    tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    model = single_file(tiny_folder, tmp_path)
    config = ("--config", tmp_path / "none")
    refused(("erase", model, *CHURCH, *config, "--out", tmp_path / "run"), "model_index.json")
