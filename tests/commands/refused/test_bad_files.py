"""Files of prompts, pictures and masks that cannot be used."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from support.console import erasure
from support.refusals import CHURCH, UNET, changed_model


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
    refused(line, "has no picture")
    refused((*line, *prompt), "has no picture")
    (folder / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    refused((*line, *prompt), folder / "cat.png", "no picture that can be decoded")
    Image.new("RGB", (3000, 4)).save(folder / "cat.png")
    refused((*line, *prompt), "too narrow")


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
    refused(("verify", tiny_run / "mask.safetensors"), "is a mask, which is checked with the run")


def test_a_patch_to_verify_is_told_what_checks_it(
    tiny_folder: Path, tiny_run: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    patch = tmp_path / "church.patch"
    said = erasure("export", tiny_run, "--to", "patch", "--base", tiny_folder, "--out", patch)
    assert said.code == 0, said.err
    refused(("verify", patch), "is a patch, which `erasure patch apply` checks as it is put in")
