"""Runs that are interrupted, lack their device, or end in numbers that are none."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.console import command, erasure
from support.refusals import (
    CHURCH,
    LINES,
    assert_told,
    changed_model,
    changed_part,
    few_steps,
    line_of,
)

from pipelines.data import drawn_pictures


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        (LINES[0], "pipelines.run.erasing.Gatherer.gather"),
        (LINES[1], "erasure.checkpoints.writing.single_file.write_tensors"),
        (LINES[2], "erasure.checkpoints.writing.folder._write_json"),
        (LINES[3], "erasure.masks.mask_file.write_tensors"),
        (LINES[4], "pipelines.run.comparing.draw_all"),
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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("component", "name"),
    [
        ("unet", "conv_in.bias"),
        ("vae", "decoder.conv_out.bias"),
        ("text_encoder", "final_layer_norm.weight"),
    ],
)
def test_weights_that_are_not_finite_are_refused_when_read(
    tiny_folder: Path,
    tmp_path: Path,
    refused: Callable[..., None],
    component: str,
    name: str,
    value: float,
) -> None:
    broken = changed_part(tiny_folder, tmp_path / "broken", component, name, value)
    words = (f"the {component} of ", "NaN or infinite", name)
    refused(("erase", broken, *CHURCH, "--out", tmp_path / "run"), *words)
    prompt = ("--prompt", "x", "--seeds", 0, "--steps", 1)
    refused(("compare", tiny_folder, broken, *prompt, "--out", tmp_path / "grid.png"), *words)


@pytest.mark.default("-1000000.0")
@pytest.mark.parametrize("bias", [-1e6, 1e6])
def test_a_model_that_draws_one_colour_is_told_after_its_first_batch(
    tiny_folder: Path, tmp_path: Path, refused: Callable[..., None], bias: float
) -> None:
    broken = changed_part(tiny_folder, tmp_path / "flat", "vae", "decoder.conv_out.bias", bias)
    colour = "#000000" if bias < 0 else "#ffffff"
    few = ("--recipe", few_steps(tmp_path), "--cache", tmp_path / "cache", "--forget-drawn", 3)
    small = ("--drawing-batch", 2)
    line = ("erase", broken, *CHURCH, *few, *small, "--out", tmp_path / "run")
    refused(line, "the model draws one colour", colour, "pictures drawn: 2", code=1)
    prompt = ("--prompt", "x", "--seeds", 0, "--steps", 1)
    compare = ("compare", tiny_folder, broken, *prompt, "--out", tmp_path / "grid.png")
    refused(compare, "the model after draws one colour", colour, code=1)


@pytest.mark.slow
def test_a_cache_of_pictures_of_one_colour_is_not_trained_on(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., None]
) -> None:
    broken = changed_part(tiny_folder, tmp_path / "flat", "vae", "decoder.conv_out.bias", -1e6)
    few = ("--recipe", few_steps(tmp_path), "--cache", tmp_path / "cache", "--forget-drawn", 2)
    line = ("mask", broken, *CHURCH, "--draws", 1, *few, "--out")
    with monkeypatch.context() as patch:
        patch.setattr(drawn_pictures, "require_content", lambda images, whose: None)
        erasure(*line, tmp_path / "old.safetensors")  # as versions did that did not look
    assert list((tmp_path / "cache" / "pictures").iterdir())
    line = (*line, tmp_path / "new.safetensors")
    refused(line, "the model draws one colour", "#000000", code=1)


@pytest.mark.slow
def test_a_model_whose_pictures_overflow_is_told(
    tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    # Finite weights whose products are not: nothing is wrong until something is drawn.
    broken = changed_model(tiny_folder, tmp_path / "huge", lambda weight: weight * 1e38)
    prompt = ("--prompt", "x", "--seeds", 0, "--steps", 1)
    compare = ("compare", tiny_folder, broken, *prompt, "--out", tmp_path / "grid.png")
    refused(compare, "not finite", code=1)
    few = ("--recipe", few_steps(tmp_path), "--cache", tmp_path / "cache")
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
    state = load_file(out / "state.safetensors")
    assert 1 <= len(state["history"]) < 9
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
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


@pytest.mark.slow
def test_a_process_that_fails_prints_its_sentence_and_no_more(tmp_path: Path) -> None:
    said = command("-m", "pipelines.cli", "export", tmp_path, "--out", tmp_path / "x.safetensors")
    assert_told(said, 2, tmp_path, "no diffusers pipeline")
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("changed", [True, False])
def test_a_mask_that_was_measured_on_another_text_encoder_is_not_gone_on_with(
    changed: bool,
    tiny_folder: Path,
    tiny_recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(tiny_folder, model)
    line = ["erase", model, "--recipe", tiny_recipe, "--steps", 1, "--out", out]
    line += ["--cache", tmp_path / "cache"]

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.run.stages.erase", interrupt)
        assert erasure(*line).code == 1
    assert (out / "mask.safetensors").exists()
    if changed:
        _change_text_encoder(model)
    said = erasure(*line, "--resume")
    assert said.code == (2 if changed else 0), said.err
    assert ("had other text encoders" in said.err) is changed


@pytest.mark.parametrize("changed", [True, False])
def test_a_mask_file_that_was_measured_on_another_text_encoder_is_told(
    changed: bool,
    tiny_folder: Path,
    tiny_recipe: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, mask = tmp_path / "model", tmp_path / "mask.safetensors"
    shutil.copytree(tiny_folder, model)
    cache = ("--cache", tmp_path / "cache")
    measured = erasure("mask", model, "--recipe", tiny_recipe, *cache, "--out", mask)
    assert measured.code == 0, measured.err
    if changed:
        _change_text_encoder(model)
    line = ["erase", model, "--recipe", tiny_recipe, "--steps", 1, "--mask", mask, *cache]
    said = erasure(*line, "--out", tmp_path / "out")
    assert said.code == 0, said.err
    assert ("was measured with other text encoders" in caplog.text) is changed


def _change_text_encoder(model: Path) -> None:
    file = model / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    first = next(name for name, value in weights.items() if value.is_floating_point())
    save_file({**weights, first: weights[first] + 0.5}, file, metadata={"format": "pt"})
