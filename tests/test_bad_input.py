"""What goes wrong is told in one sentence, with an exit code, and leaves nothing behind."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from console import Said, command, erasure
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pipelines.settings import shipped_recipes

UNET = "unet/diffusion_pytorch_model.safetensors"
PROGRESS = re.compile(r"[a-z ]+: \d+ in [\d.]+ s")
CHURCH = ("--concept", "church")


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder: size and time of change of each file."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


def assert_told(said: Said, code: int, *words: object) -> None:
    """One sentence, the last line of stderr, after nothing but progress; no result."""
    lines = said.err.splitlines()
    assert said.code == code, said.err
    assert lines, "nothing was told"
    assert lines[-1].startswith("erasure: "), said.err
    assert len(lines[-1]) > len("erasure: ") + 15
    assert all(PROGRESS.fullmatch(line) for line in lines[:-1]), said.err
    for word in words:
        assert str(word) in lines[-1]
    assert said.out == ""


@pytest.fixture
def refused(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Run a command line that must fail and leave the test's folder as it was."""

    def run(arguments: tuple[Any, ...], *words: object, code: int = 2) -> None:
        before = tree(tmp_path)
        assert_told(erasure(*arguments), code, *words)
        assert tree(tmp_path) == before

    yield run
    assert not list(tmp_path.rglob("*.part"))


# Models that are none.


def single_file(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "sd.safetensors"
    assert erasure("export", folder, "--out", path).code == 0
    return path


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
    kept = {k: v for k, v in load_file(path).items() if not k.startswith("cond_stage_model")}
    save_file(kept, path)
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
    "anything": (_named("w"), "no Stable Diffusion UNet"),
    "pickle": (_pickle, "--allow-pickle"),
    "renamed pickle": (_renamed_pickle, "--allow-pickle"),
    "sdxl folder": (_changed(_of_class("StableDiffusionXLPipeline")), "XL pipeline"),
    "other folder": (_changed(_of_class("DiTPipeline")), "DiTPipeline"),
    "truncated unet": (_changed(_half), "is damaged or cut short"),
    "no vae": (_changed(lambda path: shutil.rmtree(path / "vae")), "vae"),
    "no weights": (_changed(lambda path: (path / UNET).unlink()), "incomplete"),
    "no json": (
        _changed(lambda path: (path / "unet" / "config.json").write_text("{", encoding="utf-8")),
        "JSON",
    ),
    "no model's config": (
        _changed(lambda path: (path / "unet" / "config.json").write_text("{}", encoding="utf-8")),
        "unet",
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


# Settings.

BAD_SETTINGS = [
    ("--density", 0, "density"),
    ("--density", 1.5, "density"),
    ("--density", -0.1, "density"),
    ("--density", "nan", "density is nan"),
    ("--scope", "xatn", "xattn"),
    ("--objective", "ascend", "the nearest is 'ascent'"),
    ("--target", "still", "target"),
    ("--mask", "salience", "a file that exists"),
    ("--mask", "a" * 5000, "a file that exists"),
    ("--optimizer", "adamax", "adamw"),
    ("--precision", "fp8", "fp32"),
    ("--saliency-loss", "guidance", "guided"),
    ("--concept", "", "the concept is empty"),
    ("--concept", "\udcff", "UTF-8"),
    ("--instead", "church", "church"),
    ("--seeds", "abc", "seeds is 'abc'"),
    ("--seeds", "5-3", "seeds is '5-3'"),
    ("--seeds", "", "seeds is ''"),
    ("--seeds", "0-99999999", "seeds"),
    ("--steps", 0, "steps is 0"),
    ("--batch-size", 0, "batch_size is 0"),
    ("--micro-batch", 99, "micro_batch is 99"),
    ("--draws", 0, "draws is 0"),
    ("--alpha", -1, "alpha is -1"),
    ("--alpha", "nan", "alpha is nan"),
    ("--lr", 0, "learning_rate is 0"),
    ("--lr", -1, "learning_rate is -1"),
    ("--lr", "nan", "learning_rate is nan"),
    ("--lr", "inf", "learning_rate is inf"),
    ("--weight-decay", -1, "weight_decay is -1"),
    ("--forget-drawn", -1, "drawn is -1"),
    ("--forget-drawn", 0, "nothing to forget"),
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
    line = ("erase", tiny_folder, *CHURCH, flag, value, "--cache", tmp_path / "cache")
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
    "[train]\nlerning_rate = 1": "the nearest known key is train.learning_rate",
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
    "[saliency]\nguidance = inf": "guidance is inf",
    "[grid]\nseeds = 'x'": "seeds is 'x'",
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
            "give diffusers, single-file or patch",
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
        (("mask", "none.safetensors", "--against", "none.safetensors"), "there is no mask file"),
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
        (("mask", "m.safetensors", "--against", "LONG"), 2),
        (("export", "demo", "--out", "LONG.safetensors"), 2),
        (("export", "demo", "--config", "LONG", "--out", "x.safetensors"), 2),
        (("erase", "demo", *CHURCH, "--out", "LONG"), 1),
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


# Files of prompts, pictures, masks.


def test_prompt_files_without_prompts_are_refused(
    tmp_path: Path, refused: Callable[..., None]
) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "prompts.pdf").touch()
    line = ("compare", "demo", "demo", "--out", tmp_path / "grid.png", "--prompts")
    refused((*line, tmp_path / "empty.txt"), "has no prompt in it")
    refused((*line, tmp_path / "prompts.pdf"), "give one of")
    refused((*line, tmp_path / "none.txt"), "there is no prompt file")
    erase = ("erase", "demo", *CHURCH, "--out", tmp_path / "run", "--retain-prompts")
    refused((*erase, tmp_path / "empty.txt"), "has no prompt in it")


@pytest.mark.parametrize("role", ["forget", "retain"])
def test_picture_folders_that_cannot_be_used_are_refused_before_any_picture_is_drawn(
    role: str, tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cache = ("--cache", tmp_path / "cache", "--out", tmp_path / "run")
    line = ("erase", tiny_folder, *CHURCH, f"--{role}-folder", folder, *cache)
    prompt = (f"--{role}-prompt", "a church")
    refused(line, "no prompt is given")
    refused((*line, *prompt), "has no picture")
    (folder / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    refused((*line, *prompt), folder / "cat.png", "no picture that can be decoded")
    Image.new("RGB", (3000, 4)).save(folder / "cat.png")
    refused((*line, *prompt), "too narrow")


def changed_model(folder: Path, path: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    """A copy whose first convolution has other weights."""
    shutil.copytree(folder, path)
    tensors = load_file(path / UNET)
    tensors["conv_in.weight"] = change(tensors["conv_in.weight"])
    save_file(tensors, path / UNET)
    return path


def test_masks_that_do_not_belong_to_the_model_are_refused(
    tiny_run: Path, tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    other = changed_model(tiny_folder, tmp_path / "other", lambda weight: weight + 1)
    mask = tiny_run / "mask.safetensors"
    run = ("--out", tmp_path / "run", "--mask")
    refused(("erase", other, *CHURCH, *run, mask), "was made from base")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(mask.read_bytes()[:-9])
    refused(("erase", tiny_folder, *CHURCH, *run, cut), "cut.safetensors")
    refused(("erase", tiny_folder, *CHURCH, *run, tiny_folder / UNET), "mask")
    refused(("mask", cut), "is damaged")
    refused(("mask", tiny_folder / UNET), "format")
    refused(("mask", mask, "--against", cut), "is damaged")
    refused(("mask", mask, "--out", tmp_path / "m.safetensors"), "is a mask already")
    refused(("mask", mask, "--plot", tmp_path / "m.pdf"), "ends in .png")


def test_a_checkpoint_that_states_nothing_cannot_be_verified(
    tiny_folder: Path, tiny_run: Path, refused: Callable[..., None]
) -> None:
    refused(("verify", tiny_folder), "states no provenance")
    refused(("verify", tiny_run / "mask.safetensors"), "states no provenance")


# Places to write to.


def test_nothing_that_exists_is_overwritten(
    tiny_run: Path, tiny_recipe: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    run, file, folder = tmp_path / "run", tmp_path / "out.safetensors", tmp_path / "folder"
    shutil.copytree(tiny_run, run)
    shutil.copytree(tiny_run / "model", folder)
    for name in ("out.safetensors", "out.png", "grid.png", "grid.json"):
        (tmp_path / name).write_text("mine", encoding="utf-8")
    compare = ("compare", tiny_run, tiny_run, "--prompt", "x", "--out")
    refused(("erase", "--recipe", tiny_recipe, "--out", run), "--force")
    refused(("export", tiny_run, "--out", file), "--force")
    refused(("export", tiny_run, "--to", "diffusers", "--out", folder), "--force")
    refused(("mask", tiny_run, *CHURCH, "--out", file), "--force")
    refused(
        (
            "mask",
            tiny_run,
            *CHURCH,
            "--out",
            tmp_path / "new.safetensors",
            "--plot",
            tmp_path / "out.png",
        ),
        "out.png exists",
    )
    refused((*compare, tmp_path / "grid.png"), "--force")
    (tmp_path / "grid.png").unlink()
    refused((*compare, tmp_path / "grid.png"), "grid.json exists")


def test_force_deletes_no_folder_that_is_no_run(
    tiny_run: Path,
    tiny_folder: Path,
    tiny_recipe: Path,
    tmp_path: Path,
    refused: Callable[..., None],
) -> None:
    home, model = tmp_path / "home", tmp_path / "model"
    home.mkdir()
    (home / "thesis.tex").write_text("all of it", encoding="utf-8")
    (home / "recipe.toml").write_text("flour = 200", encoding="utf-8")
    shutil.copytree(tiny_folder, model)
    for out in (home, model):
        for flags in ((), ("--force",), ("--resume",), ("--force", "--resume")):
            refused(("erase", "--recipe", tiny_recipe, "--out", out, *flags), out)
    refused(("export", tiny_run, "--to", "diffusers", "--out", home, "--force"), home)
    refused(
        ("erase", "--recipe", tiny_recipe, "--out", home / "thesis.tex", "--force"), "is a file"
    )
    refused(("erase", "--recipe", tiny_recipe, "--out", home / "thesis.tex" / "run"), "is a file")
    # A recipe that was copied from a run, beside the model it is about.
    shutil.copytree(tiny_folder, tmp_path / "work" / "model")
    shutil.copy(tiny_run / "recipe.toml", tmp_path / "work")
    line = ("erase", "--recipe", tiny_recipe, "--out", tmp_path / "work", "--force")
    refused(line, "no result of erasure")


def test_force_does_not_replace_the_model_it_reads(
    tiny_run: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    for model in (tmp_path / "run", tmp_path / "run" / "model"):
        line = ("erase", model, *CHURCH, "--out", tmp_path / "run", "--force")
        refused(line, "lies in")


def test_resume_refuses_other_settings_and_finished_runs(
    tiny_run: Path, tiny_recipe: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    line = ("erase", "--recipe", tiny_recipe, "--steps", 3, "--out", tmp_path / "run", "--resume")
    refused(line, "is finished")
    (tmp_path / "run" / "erasure.json").unlink()
    refused((*line, "--seed", 7), "other settings")


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


LINES = [
    ("erase", "MODEL", *CHURCH, "--mask", "all", "--forget-drawn", 1, "--retain-drawn", 0),
    ("export", "MODEL"),
    ("export", "MODEL", "--to", "diffusers"),
    ("mask", "MODEL", *CHURCH, "--kind", "all", "--forget-drawn", 1),
    ("compare", "MODEL", "MODEL", "--prompt", "x", "--seeds", 0, "--steps", 1),
]
OUT = {"mask": "out.safetensors", "compare": "out.png"}


def line_of(parts: tuple[Any, ...], tiny_folder: Path, tmp_path: Path, cache: Path) -> list[Any]:
    """A line of `LINES` with its model, its cache and its place to write to."""
    line = [tiny_folder if part == "MODEL" else part for part in parts]
    out = OUT.get(
        parts[0], "out" if "diffusers" in parts or parts[0] == "erase" else "o.safetensors"
    )
    more = ["--cache", cache] if parts[0] in ("erase", "mask") else []
    return [*line, *more, "--out", tmp_path / out]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(
    ("fail", "words"), [(no_space, "the disk is full"), (read_only, "read-only")]
)
@pytest.mark.parametrize("parts", LINES)
def test_a_disk_that_refuses_is_told_and_nothing_half_written_stays(
    parts: tuple[Any, ...],
    fail: Callable[..., None],
    words: str,
    tiny_folder: Path,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:
    line = line_of(parts, tiny_folder, tmp_path, cache)
    if parts[0] == "erase":
        line += ["--recipe", _few_steps(cache)]
    with monkeypatch.context() as patch:
        replace = os.replace

        def put(source: str, target: str) -> None:
            fail() if Path(target).is_relative_to(tmp_path) else replace(source, target)

        patch.setattr(os, "replace", put)
        said = erasure(*line)
    assert_told(said, 1, words)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def _few_steps(folder: Path) -> Path:
    path = folder / "few.toml"
    path.write_text("[data.drawing]\nsteps = 1\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("parts", LINES[:3])
def test_too_small_a_disk_is_told_before_the_work_begins(
    parts: tuple[Any, ...],
    tiny_folder: Path,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    line = tuple(line_of(parts, tiny_folder, tmp_path, cache))
    refused(line, "free some space or write elsewhere", code=1)


def test_a_place_that_cannot_be_written_to_is_told_before_the_work_begins(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # for root all is writable
    line = ("erase", tiny_folder, *CHURCH, "--out", tmp_path / "a" / "run")
    refused(line, f"{tmp_path} cannot be written to", code=1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command to make a small disk with")
    if done.returncode:
        pytest.skip("only root may mount the small disk that this test fills")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("parts", LINES)
def test_a_disk_that_fills_up_on_the_way_holds_no_half_file(
    parts: tuple[Any, ...],
    tiny_folder: Path,
    small_disk: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = shutil.disk_usage("/")._replace(free=1 << 40)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)  # as if filled by another program
    (small_disk / "filler").write_bytes(bytes(96 << 10))
    line = line_of(parts, tiny_folder, small_disk, cache)
    if parts[0] == "erase":
        line += ["--recipe", _few_steps(cache)]
    assert_told(erasure(*line), 1, "cannot write")
    left = {path.name for path in small_disk.rglob("*") if path.is_file()}
    assert left <= {"filler", "recipe.toml"}


# Interruptions, devices, numbers.


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        (LINES[0], "pipelines.erasing.Gatherer.gather"),
        (LINES[1], "erasure.checkpoints.single_file.write_tensors"),
        (LINES[2], "erasure.checkpoints.folder._write_json"),
        (LINES[3], "erasure.mask_file.write_tensors"),
        (LINES[4], "pipelines.comparing.draw_all"),
    ],
)
def test_ctrl_c_leaves_nothing_half_written(
    parts: tuple[Any, ...],
    place: str,
    tiny_folder: Path,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(place, interrupt)
    line = tuple(line_of(parts, tiny_folder, tmp_path, cache))
    refused(line, "interrupted", code=1)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_too_little_memory_names_what_needs_less(
    error: type[Exception],
    tiny_folder: Path,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error("17 tensors, 3 lines")

    monkeypatch.setattr("pipelines.erasing.Gatherer.gather", full)
    line = tuple(line_of(LINES[0], tiny_folder, tmp_path, cache))
    refused(line, "out of memory on cpu", "--drawing-batch", code=1)


@pytest.mark.parametrize("parts", [LINES[3], LINES[4]])
def test_a_device_that_is_not_there_is_refused(
    parts: tuple[Any, ...],
    tiny_folder: Path,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = line_of(parts, tiny_folder, tmp_path, cache)
    refused((*line, "--device", "cuda"), "'cuda' was asked for")


def test_a_model_that_draws_no_numbers_is_told(
    tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    broken = changed_model(tiny_folder, tmp_path / "nan", lambda weight: weight * float("nan"))
    prompt = ("--prompt", "x", "--seeds", 0, "--steps", 1)
    compare = ("compare", tiny_folder, broken, *prompt, "--out", tmp_path / "grid.png")
    refused(compare, "not finite", code=1)
    few = ("--recipe", _few_steps(tmp_path), "--cache", tmp_path / "cache")
    refused(("erase", broken, *CHURCH, *few, "--out", tmp_path / "run"), "not finite", code=1)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (32, 32)).save(pictures / "church.png")
    recipe = tmp_path / "own.toml"
    recipe.write_text(
        f"[data.forget]\ndrawn = 0\nfolder = '{pictures}'\nprompt = 'a church'", encoding="utf-8"
    )
    said = erasure(
        *("mask", broken, *CHURCH, "--recipe", recipe, "--cache", tmp_path / "cache"),
        *("--out", tmp_path / "mask.safetensors"),
    )
    assert_told(said, 1, "the forget loss is nan")
    assert not (tmp_path / "mask.safetensors").exists()


def test_a_training_that_diverges_stops_with_its_last_good_state(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    line = ["erase", "--recipe", tiny_recipe, "--steps", 9, "--lr", 1e30, "--out", out]
    assert_told(erasure(*line), 1, "the step was not taken", "lower learning_rate")
    kept = load_file(out / "state.safetensors")
    assert 1 <= len(kept["history"]) < 9
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())
    assert not (out / "model").exists()
    assert not (out / "erasure.json").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_weights_that_no_longer_fit_their_type_are_no_result(
    tiny_folder: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    half, out = tmp_path / "half", tmp_path / "run"
    fp16 = ("--to", "diffusers", "--dtype", "fp16")
    assert erasure("export", tiny_folder, *fp16, "--out", half).code == 0
    line = ["erase", half, "--recipe", tiny_recipe, "--mask", "all", "--steps", 1, "--lr", 1e6]
    assert_told(erasure(*line, "--out", out), 1, "not finite")
    assert not (out / "model").exists()
    assert not (out / "erasure.json").exists()


# As a process of its own.


def test_a_process_that_fails_prints_its_sentence_and_no_more(tmp_path: Path) -> None:
    said = command("-m", "pipelines.cli", "export", tmp_path, "--out", tmp_path / "x.safetensors")
    assert_told(said, 2, tmp_path, "no diffusers pipeline")
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
