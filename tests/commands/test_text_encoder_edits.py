"""A text encoder edited from the command line: mask, erasure, evaluation, patch, refusals."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.console import erasure

from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.checkpoints.verification import verify
from erasure.masks.mask_file import load_mask

QUICK = (
    *("--method", "adv-unlearn", "--steps", 2, "--set", "rollout_steps=2"),
    *("--set", "attack_steps=1", "--set", "attack_warmup=1", "--set", "retain_batch=1"),
    *("--lr", 0.01, "--seeds", 0, "--device", "cpu", "--set", "grid.drawing.steps=2"),
)


@pytest.fixture(scope="module")
def masked(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masked")
    out = folder / "mask.safetensors"
    said = erasure(
        *("mask", tiny_folder, "--component", "text_encoder", "--concept", "church", "--json"),
        *("--forget-drawn", 2, "--draws", 1, "--out", out, "--device", "cpu"),
        *("--set", "data.drawing.steps=2"),
        *("--cache", folder / "cache"),
    )
    assert said.code == 0, said.err
    shown = json.loads(said.out)
    assert shown["component"] == "text_encoder"
    assert shown["scope"] == "layers"
    assert [row["part"] for row in shown["blocks"]] == ["layer.0", "layer.1", "out"]
    return out


@pytest.fixture(scope="module")
def run(tiny_folder: Path, masked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edited")
    line = ("erase", tiny_folder, "--concept", "church", *QUICK, "--mask", masked, "--json")
    said = erasure(*line, "--cache", folder / "cache", "--out", folder / "run")
    assert said.code == 0, said.err
    shown = json.loads(said.out)
    assert shown["unselected_identical"] is True
    assert 0 < shown["moved"] <= shown["selected"] < shown["total"]
    return folder / "run"


def test_the_run_moves_the_text_encoder_alone_and_says_so(
    run: Path, tiny_folder: Path, masked: Path
) -> None:
    base, model = read_checkpoint(tiny_folder), read_checkpoint(run / "model")
    assert model.network_hash() == base.network_hash()
    assert model.hash_of("vae") == base.hash_of("vae")
    made = model.edits[-1]
    assert made.component == "text_encoder"
    assert made.base_hash == base.hash_of("text_encoder") == load_mask(masked).info.base
    assert made.result_hash == model.hash_of("text_encoder") != made.base_hash
    assert verify(run).passed
    assert "text encoder after" in (run / "model" / "README.md").read_text(encoding="utf-8")


def test_a_patch_puts_the_edit_in_and_out(run: Path, tiny_folder: Path, tmp_path: Path) -> None:
    base, model = read_checkpoint(tiny_folder), read_checkpoint(run / "model")
    patch, put, back = tmp_path / "church.patch", tmp_path / "in", tmp_path / "back"
    line = ("export", run, "--to", "patch", "--base", tiny_folder, "--out", patch)
    assert erasure(*line).code == 0
    assert erasure("patch", "apply", tiny_folder, patch, "--out", put).code == 0
    assert erasure("patch", "remove", put, patch, "--out", back).code == 0
    assert read_checkpoint(put).hashes() == model.hashes()
    assert read_checkpoint(back).hashes() == base.hashes()


def test_both_sides_of_an_evaluation_are_told_by_their_own_text_encoder(
    run: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("prompt\na church\n", encoding="utf-8")
    out = tmp_path / "evaluation"
    said = erasure(
        *("evaluate", run, "--against", tiny_folder, "--suite", "csv", "--prompts", prompts),
        *("--seeds", 0, "--steps", 2, "--device", "cpu", "--out", out),
    )
    assert said.code == 0, said.err
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    after, before = results["models"]["after"], results["models"]["before"]
    assert after["hash"] == before["hash"]
    assert after["hashes"]["text_encoder"] != before["hashes"]["text_encoder"]
    (picture,) = results["images"]
    assert picture["after"]["sha256"] != picture["before"]["sha256"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "the base that the model was made from, by its hash" in page
    assert "text encoder hash" in page


def test_what_does_not_fit_is_refused_in_one_sentence(
    run: Path, masked: Path, tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    out = ("--out", tmp_path / "out", "--concept", "church")
    refused(
        ("erase", tiny_folder, "--mask", masked, *out),
        "component 'text_encoder', but one of unet is wanted",
    )
    file = ("--out", tmp_path / "m.safetensors", "--concept", "church")
    refused(
        ("mask", tiny_folder, "--component", "text_encodr", *file), "did you mean 'text_encoder'?"
    )
    own = ("--method", "adv-unlearn", "--saliency-loss", "own", *file)
    refused(
        ("mask", tiny_folder, "--component", "unet", *own),
        "the method adv-unlearn moves text_encoder",
    )
    refused(("mask", masked, "--component", "unet"), "component would not be read")
    refused(
        ("erase", tiny_folder, "--method", "adv-unlearn", "--scope", "xattn", *out),
        "scope 'xattn' is unknown",
    )
