"""LoRA files merged into a base, by the commands beside `erase` that read one."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.console import erasure
from support.models.tiny_lora import random_factors

from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.lora.merging import Part, with_loras
from erasure.lora.writing import write_lora
from erasure.masks.mask_file import load_mask

CHURCH = ("--concept", "church")
UCE = (
    "--method",
    "uce",
    "--seeds",
    0,
    "--set",
    "grid.drawing.steps=1",
    "--set",
    'grid.prompts=["a church"]',
)


@pytest.fixture(scope="module")
def lora(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of every layer of the tiny model."""
    path = tmp_path_factory.mktemp("lora") / "style.safetensors"
    write_lora(path, {"unet": random_factors(tiny_checkpoint.network)}, tiny_checkpoint)
    return path


@pytest.fixture(scope="module")
def merged(lora: Path, tiny_checkpoint: Checkpoint) -> Checkpoint:
    """The tiny model with it at half its strength."""
    return with_loras(tiny_checkpoint, [Part(lora, 0.5)])


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.uint8])
def test_an_alpha_that_a_trainer_kept_as_a_whole_number_is_read(
    kind: torch.dtype, lora: Path, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    tensors = {
        name: value.to(kind) if name.endswith(".alpha") else value
        for name, value in load_file(lora).items()
    }
    save_file(tensors, tmp_path / "whole.safetensors")
    whole = with_loras(tiny_checkpoint, [Part(tmp_path / "whole.safetensors")])
    assert whole.network_hash() == with_loras(tiny_checkpoint, [Part(lora)]).network_hash()


def test_a_mask_of_a_merged_base_is_one_for_its_erasure(
    lora: Path, merged: Checkpoint, tiny_folder: Path, tmp_path: Path
) -> None:
    mask, half = tmp_path / "mask.safetensors", ("--lora", f"{lora}:0.5")
    kind = ("--kind", "random", "--density", 0.5, "--scope", "xattn-kv")
    said = erasure("mask", tiny_folder, *CHURCH, *kind, *half, "--out", mask)
    assert said.code == 0, said.err
    assert "merged style.safetensors at 0.5 into" in said.err
    assert load_mask(mask).info.base == merged.network_hash()
    line = ("erase", tiny_folder, *CHURCH, *UCE, "--mask", mask, "--out", tmp_path / "run")
    assert erasure(*line, *half).code == 0
    refused = erasure("erase", tiny_folder, *CHURCH, *UCE, "--mask", mask, "--out", tmp_path / "b")
    assert refused.code == 2
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("form", ["diffusers", "single-file"])
def test_a_merged_base_is_exported_as_a_model_that_every_command_takes(
    form: str, lora: Path, merged: Checkpoint, tiny_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / ("model" if form == "diffusers" else "model.safetensors")
    said = erasure("export", tiny_folder, "--to", form, "--lora", f"{lora}:0.5", "--out", out)
    assert said.code == 0, said.err
    assert read_checkpoint(out).hashes() == merged.hashes()
    if form == "single-file":
        with safe_open(out, framework="pt") as file:
            sources = file.metadata()["modelspec.merged_from"]
        assert sources == f"{merged.name}, style.safetensors:0.5"


def test_a_patch_is_of_the_merged_base_that_was_erased_from(
    lora: Path, merged: Checkpoint, tiny_folder: Path, tmp_path: Path
) -> None:
    run, half = tmp_path / "run", ("--lora", f"{lora}:0.5")
    assert erasure("erase", tiny_folder, *CHURCH, *UCE, *half, "--out", run).code == 0
    patch, line = tmp_path / "p.safetensors", ("--to", "patch", "--base", tiny_folder)
    said = erasure("export", run, *line, *half, "--out", patch)
    assert said.code == 0, said.err
    base, back = tmp_path / "base", tmp_path / "again"
    assert erasure("export", tiny_folder, "--to", "diffusers", *half, "--out", base).code == 0
    assert erasure("patch", "apply", base, patch, "--out", back).code == 0
    wanted = read_checkpoint(run / "model").network
    assert all(torch.equal(w, wanted[n]) for n, w in read_checkpoint(back).network.items())


def test_files_that_would_not_be_read_or_make_a_record_untrue_are_refused(
    lora: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert erasure("erase", tiny_folder, *CHURCH, *UCE, "--out", run).code == 0
    for options, words in (
        (("--to", "lora"), "would not be read, as a run's own factors"),
        (("--to", "single-file"), "was edited, and with"),
    ):
        out = tmp_path / "x.safetensors"
        said = erasure("export", run, *options, "--lora", lora, "--out", out)
        assert said.code == 2
        assert words in said.err.splitlines()[-1]
        assert not out.exists()
