"""The command line where all is well: each command, its files, its JSON, and runs that were cut."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from console import ROOT, erasure, finished, quick_recipe, started
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from erasure import load_mask, read_checkpoint, verify
from erasure.checkpoints.tensor_file import data_hash
from erasure.trainer import MaskedTrainer, Step
from pipelines.cli import _COMMANDS
from pipelines.settings import read_recipe

UNET = Path("model/unet/diffusion_pytorch_model.safetensors")
RUN_FILES = {
    "model",
    "mask.safetensors",
    "density.png",
    "grid.png",
    "loss.png",
    "loss.csv",
    "recipe.toml",
    "erasure.json",
}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def record(run: Path) -> dict[str, Any]:
    return json.loads((run / "erasure.json").read_text(encoding="utf-8"))


def test_the_demo_checkpoint_is_erased_by_a_recipe_that_flags_override(tmp_path: Path) -> None:
    out = tmp_path / "church"
    flags = ["--steps", 3, "--forget-drawn", 2, "--retain-drawn", 2, "--seeds", 0]
    places = ["--cache", tmp_path / "cache", "--out", out]
    recipe = quick_recipe(tmp_path, concept="dog")
    said = erasure(
        *("erase", "demo", "--concept", "church", "--recipe", recipe, *flags, *places, "--json")
    )
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert told["unselected_identical"] is True
    assert 0 < told["moved"] <= told["selected"] == told["total"] // 2
    assert names(out) == RUN_FILES
    assert {Path(told[key]) for key in ("model", "grid", "mask", "loss", "record")} == {
        out / name for name in ("model", "grid.png", "mask.safetensors", "loss.png", "erasure.json")
    }
    used = read_recipe(str(out / "recipe.toml"))
    assert used["concept"] == "church"  # the flag's, not the file's
    assert used["train"]["steps"] == 3
    assert used["grid"]["drawing"]["steps"] == 2  # the file's, not the default
    assert used["train"]["learning_rate"] == 2e-4  # the default of the canvas
    assert record(out)["concept"] == "church"
    assert verify(out).passed
    assert read_checkpoint(out / "model").unet_hash() == record(out)["result_hash"]
    assert {path.name for path in (tmp_path / "cache").iterdir()} >= {"pictures"}


def test_a_run_says_what_it_made_and_reports_progress_on_stderr(
    tiny_run: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    said = erasure("erase", "--recipe", tiny_recipe, "--steps", 1, "--out", tmp_path / "run")
    assert said.code == 0
    assert "bit-identical" in said.out
    assert str(tmp_path / "run" / "grid.png") in said.out
    assert "train: 1 in" in said.err
    assert "train" not in said.out
    assert names(tiny_run) == RUN_FILES


def test_the_resolved_recipe_gives_the_same_run_again(tiny_run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    said = erasure("erase", "--recipe", tiny_run / "recipe.toml", "--out", again)
    assert said.code == 0, said.err
    assert record(again)["result_hash"] == record(tiny_run)["result_hash"]
    for name in ("recipe.toml", "mask.safetensors", "loss.csv", "grid.png"):
        assert (again / name).read_bytes() == (tiny_run / name).read_bytes(), name


def test_the_seed_flag_is_the_seed_of_the_whole_run(tiny_run: Path, tmp_path: Path) -> None:
    flags = ["--seed", 5, "--mask", "all", "--steps", 1]
    said = erasure(
        "erase", "--recipe", tiny_run / "recipe.toml", *flags, "--out", tmp_path / "run"
    )
    assert said.code == 0, said.err
    used = read_recipe(str(tmp_path / "run" / "recipe.toml"))
    assert [used["seed"], used["saliency"]["seed"], used["train"]["seed"]] == [5, 5, 5]


def test_force_replaces_a_run_and_leaves_what_no_run_wrote(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    line = ["erase", "--recipe", tiny_recipe, "--steps", 1, "--mask", "all", "--out", out]
    assert erasure(*line).code == 0
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    old = record(out)["result_hash"]
    assert erasure(*line, "--lr", 0.01, "--force").code == 0
    assert record(out)["result_hash"] != old
    assert names(out) == RUN_FILES | {"notes.txt"}
    assert verify(out).passed


def test_a_mask_is_the_one_that_erase_makes(
    tiny_run: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "church.safetensors"
    said = erasure("mask", "MODEL", "--recipe", tiny_recipe, "--out", out)
    assert said.code == 2  # the model of the command line comes before the recipe's
    model = read_recipe(str(tiny_recipe))["model"]
    said = erasure("mask", model, "--recipe", tiny_recipe, "--out", out, "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert out.read_bytes() == (tiny_run / "mask.safetensors").read_bytes()
    assert told["selected"] == load_mask(out).selected == sum(b["selected"] for b in told["blocks"])
    assert told["density"] == pytest.approx(0.5, abs=1e-4)
    with Image.open(told["plot"]) as picture:
        assert picture.format == "PNG"


def test_a_mask_file_is_looked_at_and_held_against_another(tiny_run: Path, tmp_path: Path) -> None:
    file = tiny_run / "mask.safetensors"
    look = erasure("mask", file)
    assert look.code == 0
    assert "church" in look.out
    assert "down.0" in look.out
    both = erasure("mask", file, "--against", file, "--plot", tmp_path / "plot.png", "--json")
    told = json.loads(both.out)
    assert told["overlap"] == {
        "both": told["selected"],
        "iou": 1.0,
        "share_of_this_in_other": 1.0,
    }
    assert names(tmp_path) == {"plot.png"}


def test_compare_draws_both_models_from_the_same_noise(
    tiny_run: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    out, pictures = tmp_path / "grid.png", tmp_path / "pictures"
    prompts = ["--prompt", "an image of a church", "--prompt", "an image of a dog"]
    few = ["--seeds", "3,5", "--steps", 2, "--pictures", pictures]
    said = erasure("compare", tiny_folder, tiny_run, *prompts, *few, "--out", out, "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert told == {"grid": [str(out)], "record": str(out.with_suffix(".json"))}
    drawn = json.loads(Path(told["record"]).read_text(encoding="utf-8"))
    assert "church" in json.dumps(drawn)
    files = ["000-seed3.png", "000-seed5.png", "001-seed3.png", "001-seed5.png"]
    for side in ("before", "after"):
        assert sorted(names(pictures / side)) == files
    same = erasure(
        *("compare", tiny_folder, tiny_folder, *prompts, *few, "--out", out, "--force")
    )
    assert same.code == 0
    for file in files:
        before, after = (pictures / side / file for side in ("before", "after"))
        assert before.read_bytes() == after.read_bytes()


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", None])
@pytest.mark.parametrize("layout", ["diffusers", "single-file"])
def test_exports_hold_the_type_asked_for_and_verify(
    tiny_run: Path, tmp_path: Path, layout: str, dtype: str | None
) -> None:
    single = layout == "single-file"
    out = tmp_path / ("church.safetensors" if single else "church")
    kind = ["--dtype", dtype] if dtype else []
    said = erasure("export", tiny_run, "--to", layout, *kind, "--out", out, "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    file = out if single else out / "unet" / UNET.name
    wanted = {"fp32": "F32", "fp16": "F16", "bf16": "BF16", None: "F32"}[dtype]
    with safe_open(file, framework="pt") as opened:
        assert {opened.get_slice(name).get_dtype() for name in opened.keys()} == {wanted}
        assert opened.metadata()["erasure.concept"] == "church"
    assert read_checkpoint(out).unet_hash() == told["UNet"]
    checked = erasure("verify", out, "--json")
    assert checked.code == 0, checked.err
    assert json.loads(checked.out)["verified"] is True


def test_an_export_of_another_model_than_ours_is_the_model(
    tiny_folder: Path, tmp_path: Path
) -> None:
    file, folder = tmp_path / "sd.safetensors", tmp_path / "sd"
    assert erasure("export", tiny_folder, "--title", "Tiny", "--out", file).code == 0
    assert erasure("export", file, "--to", "diffusers", "--out", folder).code == 0
    for part in ("unet", "vae", "text_encoder"):
        one, other = (read_checkpoint(path).components[part] for path in (tiny_folder, folder))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_verify_finds_a_weight_that_was_changed(tiny_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "church.safetensors"
    assert erasure("export", tiny_run, "--out", file).code == 0
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    said = erasure("verify", file, "--json")
    assert said.code == 1
    assert json.loads(said.out)["verified"] is False
    assert said.err.startswith(f"erasure: {file} is not what it says: ")


def same_results(one: Path, other: Path) -> None:
    """Weights, mask, losses and picture byte by byte; times and dates may differ."""
    assert data_hash(one / UNET) == data_hash(other / UNET)
    assert record(one)["result_hash"] == record(other)["result_hash"]
    for name in ("mask.safetensors", "loss.csv", "grid.png"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_run_stopped_by_ctrl_c_between_steps_ends_as_the_unbroken_one(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    decay = ["--optimizer", optimizer, "--weight-decay", 0.1]
    line = ["erase", "--recipe", tiny_recipe, "--steps", 4, *decay]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert erasure(*line, "--out", whole).code == 0
    take = MaskedTrainer._step

    def take_and_interrupt(self: MaskedTrainer, index: int) -> Step:
        step = take(self, index)
        if step.index == 2:
            signal.raise_signal(signal.SIGINT)
        return step

    with monkeypatch.context() as patch:
        patch.setattr(MaskedTrainer, "_step", take_and_interrupt)
        said = erasure(*line, "--out", cut)
    assert said.code == 1
    assert said.err.splitlines()[-1] == (
        "erasure: interrupted; what was finished is kept, and the same command with --resume "
        "goes on"
    )
    assert len(load_file(cut / "state.safetensors")["history"]) == 2
    assert not list(tmp_path.rglob("*.part"))
    assert erasure(*line, "--out", cut).code == 2  # neither --resume nor --force
    said = erasure(*line, "--out", cut, "--resume")
    assert said.code == 0, said.err
    assert names(cut) == RUN_FILES
    same_results(whole, cut)


def wait_for_state(process: "subprocess.Popen[str]", state: Path, steps: int) -> None:
    """Until that many steps are saved; the file is replaced whole, so it can be read any time."""
    for _ in range(20_000):
        if process.poll() is not None:
            pytest.fail(f"the run ended too early: {process.communicate()}")
        if state.exists() and len(load_file(state)["history"]) >= steps:
            return
        time.sleep(0.005)
    pytest.fail("the run did not get as far as training")


def test_a_run_killed_twice_ends_as_the_unbroken_one(tiny_recipe: Path, tmp_path: Path) -> None:
    line = ["erase", "--recipe", tiny_recipe, "--steps", 60, "--lr", 1e-3]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = started(*line, "--out", cut)
    wait_for_state(process, cut / "state.safetensors", 2)
    process.send_signal(signal.SIGINT)
    said = finished(process)
    assert said.code == 1
    assert "Traceback" not in said.err
    assert said.err.splitlines()[-1].startswith("erasure: interrupted; ")
    done = len(load_file(cut / "state.safetensors")["history"])
    process = started(*line, "--out", cut, "--resume")
    wait_for_state(process, cut / "state.safetensors", done + 2)
    process.kill()
    assert finished(process).code == -signal.SIGKILL
    assert erasure(*line, "--out", cut, "--resume").code == 0
    assert names(cut) == RUN_FILES
    assert erasure(*line, "--out", whole).code == 0
    same_results(whole, cut)


def test_resume_begins_where_there_is_nothing_to_go_on_with(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    line = ["erase", "--recipe", tiny_recipe, "--steps", 1, "--mask", "all", "--resume"]
    assert erasure(*line, "--out", tmp_path / "run").code == 0
    again = erasure(*line, "--out", tmp_path / "run")
    assert again.code == 2
    assert "is finished, so there is nothing to resume" in again.err


@pytest.mark.parametrize("command", [None, *_COMMANDS])
def test_help_fits_the_terminal_and_ends_with_an_example(
    command: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = erasure(*([command] if command else []), "--help")
    assert said.code == 0
    assert said.err == ""
    assert max(map(len, said.out.splitlines())) <= 80
    told = said.out.rsplit("Example:\n", 1)[1].replace("\\\n", " ").split()
    assert told[:2] == ["erasure", command or "erase"]
    assert "..." not in said.out.partition("Commands:")[2]


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, pipelines.cli; print([m for m in ('torch', 'PIL') if m in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"
