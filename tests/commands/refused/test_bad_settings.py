"""Options, recipes and command lines that cannot be: refused before anything is written."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.console import erasure
from support.refusals import CHURCH, assert_told

from pipelines.configs.settings import shipped_recipes

BAD_SETTINGS = [
    ("--density", 0, "density"),
    ("--density", 1.5, "density"),
    ("--density", -0.1, "density"),
    ("--density", "nan", "density is nan"),
    ("--scope", "xatn", "xattn"),
    ("--method", "ascend", "did you mean 'ascent'"),
    ("--target", "still", "target"),
    ("--mask", "salience", "a file that exists"),
    ("--mask", "a" * 5000, "a file that exists"),
    ("--optimizer", "adamax", "adamw"),
    ("--precision", "fp8", "fp32"),
    ("--saliency-loss", "guidance", "guided"),
    ("--concept", "", "--concept is empty"),
    ("--concept", "\udcff", "UTF-8"),
    ("--instead", "church", "church"),
    ("--seeds", "abc", "seeds is 'abc'"),
    ("--seeds", "5-3", "seeds is '5-3'"),
    ("--seeds", "", "--seeds is empty"),
    ("--vae", "", "--vae is empty; give it a value, or leave it out"),
    ("--seeds", "0-99999999", "seeds"),
    ("--steps", 0, "--steps is 0"),
    ("--batch-size", 0, "--batch-size is 0"),
    ("--micro-batch", 99, "--micro-batch is 99"),
    ("--draws", 0, "--draws is 0"),
    ("--alpha", -1, "alpha is -1"),
    ("--alpha", "nan", "alpha is nan"),
    ("--lr", 0, "--lr is 0"),
    ("--lr", -1, "--lr is -1"),
    ("--lr", "nan", "--lr is nan"),
    ("--lr", "inf", "--lr is inf"),
    ("--weight-decay", -1, "--weight-decay is -1"),
    ("--forget-drawn", -1, "--forget-drawn is -1"),
    ("--forget-drawn", 0, "is 0, and there is neither a folder nor"),
    ("--forget-folder", "none", "the picture folder none is not there"),
    ("--retain-folder", "none", "the picture folder none is not there"),
    ("--retain-prompts", "none.txt", "there is no prompt file none.txt"),
    ("--device", "tpu", "device is 'tpu'"),
    ("--device", "cuda", "'cuda' was asked for"),
    ("--recipe", "nudty", "there is no recipe 'nudty'"),
]


@pytest.mark.parametrize(("flag", "value", "words"), BAD_SETTINGS)
def test_a_setting_out_of_range_is_refused_before_anything_is_written(
    flag: str,
    value: object,
    words: str,
    tiny_folder: Path,
    tmp_path: Path,
    refused: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    concept = () if flag == "--concept" else CHURCH
    line = ("erase", tiny_folder, *concept, flag, value, "--cache", tmp_path / "cache")
    refused((*line, "--out", tmp_path / "run"), words)


@pytest.mark.parametrize(("flag", "value"), [("--density", 0), ("--mask", "none"), ("--lr", "nan")])
def test_a_wrong_setting_costs_no_older_run(
    flag: str, value: object, tiny_run: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    recipe = ("--recipe", tiny_run / "recipe.toml")
    refused(("erase", *recipe, flag, value, "--out", tmp_path / "run", "--force"), value)


def test_a_concept_that_the_canvas_does_not_know_names_the_nearest(
    tmp_path: Path, refused: Callable[..., None]
) -> None:
    refused(("erase", "demo", "--concept", "churhc", "--out", tmp_path / "run"), "church")


BAD_RECIPES = {
    "[train\nsteps = 3": "line 1 is not TOML",
    "steps == 3": "line 1 is not TOML",
    "denisty = 0.4": "the nearest known key is density",
    "[train]\nlerning_rate = 1": "the nearest known key is method.learning_rate",
    "steps = 3": "steps is unknown",
    "density = 'half'": "density is 'half'; give a number",
    "train = 5": "train is 5",
    "grid = []": "grid is []",
    "model = 5": "model is 5",
    "config = 5": "config is 5",
    "allow_pickle = 'yes'": "allow_pickle is 'yes'",
    "save_every = 0": "save_every is 0",
    "seed = true": "seed is True",
    "[data]\nsize = 63": "size is 63",
    "[data.forget]\nlimit = 0": "limit is 0",
    "[data.drawing]\nsteps = 1001": "steps is 1001",
    "[grid.drawing]\nguidance = nan": "guidance is nan",
    "[saliency]\nguidance_scale = inf": "guidance_scale is inf",
    "[grid]\nseeds = 'x'": "seeds is 'x'",
    f"instead = 0x{'f' * 5000}": "a whole number of more than 64 bits",
    'instead = "a\\u0000"': "instead has the character of number 0",
}


@pytest.mark.parametrize("text", BAD_RECIPES)
def test_a_recipe_that_is_wrong_is_refused(
    text: str, tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    recipe = tmp_path / "wrong.toml"
    recipe.write_text(text, encoding="utf-8")
    model = () if text.startswith("model") else (tiny_folder,)
    refused(
        ("erase", *model, *CHURCH, "--recipe", recipe, "--out", tmp_path / "run"), BAD_RECIPES[text]
    )


def test_a_recipe_that_is_no_text_file_is_refused(
    tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    line = ("erase", tiny_folder, *CHURCH, "--out", tmp_path / "run", "--recipe")
    refused((*line, tmp_path / "bytes.toml"), "UTF-8")
    refused((*line, tmp_path), "there is no recipe", "demo-church")
    refused((*line, "defaults-canvas"), "there is no recipe 'defaults-canvas'", "demo-church")


def test_a_folder_of_a_recipe_s_name_does_not_hide_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., None]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in shipped_recipes():
        (tmp_path / name).mkdir()
    refused(("erase", "--recipe", "demo-church", "--mask", "none", "--out", "run"), "mask is")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("erase", "demo", "--out", "run"), "concept is missing"),
        (("erase", "--concept", "church", "--out", "run"), "model is missing"),
        (("compare", "demo", "demo", "--out", "g.png"), "there is no prompt"),
        (("compare", "demo", "demo", "--prompt", "x", "--out", "g.jpg"), "ends in .png"),
        (("compare", "demo", "demo", "--prompt", "x", "--out", "g.png", "--seeds", "x"), "seeds"),
        (("compare", "demo", "demo", "--prompt", "x", "--out", "g.png", "--steps", 0), "steps"),
        (
            ("compare", "demo", "demo", "--prompt", "x", "--out", "g.png", "--size", 63),
            "size is 63",
        ),
        (("compare", "demo", "demo", "--prompt", "x", "--out", "g.png", "--size", 0), "size is 0"),
        (
            ("compare", "demo", "demo", "--prompt", "x", "--out", "g.png", "--guidance", "nan"),
            "guidance is nan",
        ),
        (
            ("compare", "demo", "demo", "--prompt", "x", "--out", "g.png", "--device", "tpu"),
            "'tpu' was asked for",
        ),
        (
            ("export", "demo", "--to", "onnx", "--out", "x.onnx"),
            "give diffusers, single-file, patch, lora or diff",
        ),
        (("export", "demo", "--dtype", "fp8", "--out", "x.safetensors"), "fp16"),
        (("export", "demo", "--out", "x.ckpt"), "must end in .safetensors"),
        (("mask", "demo", "--concept", "church"), "--out"),
        (("mask", "demo", "--out", "m.safetensors"), "concept is missing"),
        (("mask", "demo", "--concept", "church", "--out", "m.png"), "ends in .safetensors"),
        (
            ("mask", "demo", "--concept", "church", "--out", "m.safetensors", "--kind", "x"),
            "salient",
        ),
        (("mask", "none.safetensors", "--against", "none.safetensors"), "there is no model"),
        (("verify", "none.safetensors"), "does not exist"),
        (("verify", "demo"), "does not exist"),
    ],
)
def test_what_a_command_cannot_do_is_refused(
    line: tuple[Any, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(line, words)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (("verify", "LONG"), 2),
        (("mask", "LONG", *CHURCH, "--out", "m.safetensors"), 2),
        (("export", "demo", "--out", "LONG.safetensors"), 2),
        (("export", "demo", "--config", "LONG", "--out", "x.safetensors"), 2),
        (("erase", "demo", *CHURCH, "--out", "LONG"), 2),
        (("erase", "demo", *CHURCH, "--out", "run", "--forget-folder", "LONG"), 2),
        (("compare", "demo", "demo", "--prompts", "LONG.txt", "--out", "grid.png"), 2),
    ],
)
def test_a_path_that_no_disk_can_hold_is_told(
    line: tuple[Any, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_told(erasure(*(part.replace("LONG", "a" * 300) for part in line)), code, "aaaa")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        ("erase", "demo", "--density", "half"),
        ("erase", "demo", "--stepps", "3"),
        ("export", "demo"),
        ("compare", "demo", "--out", "grid.png"),
        ("erases",),
    ],
)
def test_what_is_no_command_line_is_refused(line: tuple[str, ...]) -> None:
    said = erasure(*line)
    assert said.code == 2
    assert said.err.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in said.err
    assert said.out == ""


@pytest.mark.parametrize("value", ["5", '"demo-flow"', "true"])
def test_retrained_models_of_a_recipe_that_are_no_list_are_refused(
    value: str, tmp_path: Path
) -> None:
    (tmp_path / "audit.toml").write_text(f"retrained = {value}\n", encoding="utf-8")
    out = tmp_path / "out"
    line = ("audit", "demo", "--concept", "church", "--recipe", tmp_path / "audit.toml")
    said = erasure(*line, "--against", "demo", "--out", out)
    assert_told(said, 2, "retrained is ", "; give a list, each element text in quotes")
    assert not out.exists()
