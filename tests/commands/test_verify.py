"""`erasure verify`: every part of a run, a folder and a file, and what it did not look at."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.console import Said, erasure
from torch import Tensor

from erasure import read_checkpoint, verify, write_folder, write_single_file
from erasure.checkpoints.writing.inventory import sealed_record
from erasure.errors import CheckpointError
from erasure.storage.tensors.hashing import weights_hash
from erasure.storage.tensors.tensor_file import write_tensors

UNET = Path("unet/diffusion_pytorch_model.safetensors")
VAE = Path("vae/diffusion_pytorch_model.safetensors")
TEXT = Path("text_encoder/model.safetensors")


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "church"
    shutil.copytree(tiny_run, copy)
    return copy


def answer_of(said: Said) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(said.out)
    return answer


def with_header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def change(path: Path, edit: Callable[[dict[str, Tensor]], None]) -> None:
    """Other weights under the words that are there."""
    words, tensors = with_header(path), {k: v.clone() for k, v in load_file(path).items()}
    edit(tensors)
    save_file(tensors, path, words)


def zeroed(tensors: dict[str, Tensor]) -> None:
    name = max(tensors, key=lambda n: tensors[n].numel())
    tensors[name].zero_()


def test_a_run_is_verified_with_all_its_parts_and_says_what_it_left_out(run: Path) -> None:
    said = erasure("verify", run, "--json")
    assert said.code == 0, said.err
    answer = answer_of(said)
    names = set(answer["checked"])
    for part in ("unet", "vae", "text_encoder"):
        assert f"model: {part} weights" in names
    for part in (
        "model: scheduler/scheduler_config.json",
        "model: tokenizer/tokenizer_config.json",
        "model: unet/config.json",
        "model: model_index.json",
        "model: words in the UNet's header",
        "mask.safetensors",
        "recipe.toml",
        "loss.csv",
        "grid.png",
        "words of erasure.json",
    ):
        assert part in names
    assert set(answer["not_checked"]) == {"model: README.md"}
    people = erasure("verify", run)
    assert "verified" in people.out
    assert "checks; 1 not checked" in people.out
    assert "model: README.md" in people.out


@pytest.mark.parametrize("part", [UNET, VAE, TEXT])
def test_a_changed_weight_of_any_component_is_found(run: Path, part: Path) -> None:
    change(run / "model" / part, zeroed)
    for path in (run, run / "model"):
        said = erasure("verify", path)
        assert said.code == 1
        assert f"{part.parts[0]} weights" in said.err
        assert "NO, 1 of" in said.out


@pytest.mark.parametrize(
    ("file", "old", "new"),  # what cannot be read at all is wrong input
    [
        ("model/scheduler/scheduler_config.json", "0.012", "0.02"),
        ("model/tokenizer/tokenizer_config.json", "77", "76"),
        ("model/unet/config.json", '"down_block_types"', '"down_block_typez"'),
        ("model/model_index.json", "StableDiffusionPipeline", "StableDiffusionPipelin"),
        ("recipe.toml", 'concept = "church"', 'concept = "dog"'),
        ("loss.csv", "step", "Step"),
        ("erasure.json", '"concept": "church"', '"concept": "dog"'),
        ("model/erasure.json", '"concept": "church"', '"concept": "dog"'),
    ],
)
def test_a_changed_word_of_any_file_is_found(run: Path, file: str, old: str, new: str) -> None:
    text = (run / file).read_text(encoding="utf-8")
    assert old in text
    (run / file).write_text(text.replace(old, new), encoding="utf-8")
    unreadable = file in ("model/unet/config.json", "model/model_index.json")
    said = erasure("verify", run)
    assert said.code == (2 if unreadable else 1), said.err
    assert unreadable or "is not what it says" in said.err


def test_a_mask_or_a_recipe_of_another_run_is_found(
    run: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    mask = tmp_path / "other.safetensors"
    said = erasure("mask", tiny_folder, "--concept", "church", "--kind", "random", "--out", mask)
    assert said.code == 0, said.err
    recipe = (run / "recipe.toml").read_bytes().replace(b"seed = 0", b"seed = 1")
    for name, other in (("mask.safetensors", mask.read_bytes()), ("recipe.toml", recipe)):
        content = (run / name).read_bytes()
        assert other != content
        (run / name).write_bytes(other)
        said = erasure("verify", run)
        assert said.code == 1
        assert name in said.err
        (run / name).write_bytes(content)
    (run / "mask.safetensors").unlink()
    assert "there is no mask file" in erasure("verify", run).err


def test_what_was_put_in_later_is_named_as_not_looked_at(run: Path) -> None:
    (run / "model" / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"x")
    (run / "notes.txt").write_text("mine")
    answer = answer_of(erasure("verify", run, "--json"))
    assert answer["verified"] is True
    strange = {n for n, why in answer["not_checked"].items() if "put there later" in why}
    assert strange == {"model: unet/diffusion_pytorch_model.fp16.safetensors", "notes.txt"}


def test_the_words_of_a_single_file_are_under_a_checksum(tiny_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "church.safetensors"
    assert erasure("export", tiny_run, "--out", file).code == 0
    answer = answer_of(erasure("verify", file, "--json"))
    assert answer["checked"]["header words"] == answer["checked"]["file data"] == "ok"
    assert answer["not_checked"] == {}
    words = with_header(file)
    for key, value in (("modelspec.title", "Clean"), ("erasure.concept", "dog")):
        other = tmp_path / f"{key}.safetensors"
        save_file(load_file(file), other, {**words, key: value})
        said = erasure("verify", other)
        assert said.code == 1
        assert "header words" in said.err


def test_an_older_folder_says_what_was_not_recorded(run: Path) -> None:
    """Older versions recorded one edit alone and hashed the UNet alone."""
    model = run / "model"
    edit = json.loads((model / "erasure.json").read_text(encoding="utf-8"))["edits"][0]
    del edit["base"]
    record = {**edit, "format": "erasure-checkpoint 1"}
    words = {
        f"erasure.{k}": v if isinstance(v, str) else json.dumps(v, sort_keys=True)
        for k, v in record.items()
    }
    save_file(load_file(model / UNET), model / UNET, words)
    for folder in (run, model):
        (folder / "erasure.json").write_text(json.dumps(record))
    answer = answer_of(erasure("verify", run, "--json"))
    assert answer["verified"] is True
    assert answer["edits"][0]["concept"] == "church"
    for name in ("model: vae weights", "model: text_encoder weights", "recipe.toml"):
        assert "not recorded" in answer["not_checked"][name]
    assert "model: scheduler/scheduler_config.json" in answer["not_checked"]
    assert answer["checked"]["mask.safetensors"] == "ok"  # its hash was recorded, and not compared
    change(model / UNET, zeroed)
    assert erasure("verify", run).code == 1


def test_a_record_that_names_files_outside_its_folder_reads_none_of_them(run: Path) -> None:
    secret = run.with_name("secret.txt")
    secret.write_text("secret")
    path = run / "model" / "erasure.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["files"] |= {"../../secret.txt": "0" * 64, str(secret): "0" * 64}
    path.write_text(json.dumps(sealed_record(record)))
    verification = verify(run)
    odd = {check.name: check.actual for check in verification.checks if not check.passed}
    assert odd == {"model: ../../secret.txt": "not there", f"model: {secret}": "not there"}


def test_a_plain_copy_is_verified_too_and_nothing_is_erased(
    tiny_folder: Path, tmp_path: Path
) -> None:
    for name, kind in (("copy", "diffusers"), ("copy.safetensors", "single-file")):
        out = tmp_path / name
        assert erasure("export", tiny_folder, "--to", kind, "--out", out).code == 0
        said = erasure("verify", out)
        assert said.code == 0, said.err
        assert "erased" in said.out
        assert "nothing" in said.out
    change(tmp_path / "copy" / TEXT, zeroed)
    assert erasure("verify", tmp_path / "copy").code == 1


def test_the_base_under_the_record_of_an_edit_is_found(
    run: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    """Whole hashes, made anew, of a UNet that nothing was erased from."""
    edited, base = read_checkpoint(run / "model"), read_checkpoint(tiny_folder)
    made = edited.provenance
    assert made is not None
    out = tmp_path / "wrong"
    write_folder(base, out, provenance=made)
    said = erasure("verify", out)
    assert said.code == 1
    assert "the one before church was erased" in said.err


def test_values_that_are_not_finite_are_found_and_named(run: Path) -> None:
    model = run / "model"
    tensors = load_file(model / UNET)
    tensors["conv_in.bias"][0] = float("nan")
    words = with_header(model / UNET)
    weights = json.loads(words["erasure.weights"]) | {"unet": weights_hash(tensors)}
    write_tensors(model / UNET, tensors, {**words, "erasure.weights": json.dumps(weights)})
    said = erasure("verify", run)
    assert said.code == 1
    assert "conv_in.bias of unet has 1 of" in said.out + said.err


@pytest.mark.default("vae")
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_no_export_writes_what_is_not_finite_or_overflows(
    part: str, tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    file = {"unet": UNET, "vae": VAE, "text_encoder": TEXT}[part]
    wrong, large = tmp_path / "wrong", tmp_path / "large"
    for folder, value in ((wrong, float("nan")), (large, 1e6)):
        shutil.copytree(tiny_folder, folder)
        name = min(load_file(folder / file))

        def spoil(tensors: dict[str, Tensor], name: str = name, value: float = value) -> None:
            tensors[name].view(-1)[0] = value

        change(folder / file, spoil)
    for to, out in (("diffusers", tmp_path / "out"), ("single-file", tmp_path / "o.safetensors")):
        line = ("export", "--to", to, "--out", out)
        refused((*line, wrong), part, f"{name})", "NaN or infinite")
        refused((*line, large, "--dtype", "fp16"), f"{name} of {part} reaches 1e+06", "bf16")
        assert erasure(*line, large, "--dtype", "bf16").code == 0
    if part == "unet":
        patch = ("--to", "patch", "--base", tiny_folder, "--out", tmp_path / "x.patch")
        refused(("export", wrong, *patch), "unet", f"{name})", "NaN or infinite")


def test_an_edit_that_is_not_finite_is_not_written(tiny_folder: Path, tmp_path: Path) -> None:
    start = read_checkpoint(tiny_folder)
    unet = dict(start.network) | {"conv_in.bias": start.network["conv_in.bias"] * float("inf")}
    for write, out in ((write_folder, "out"), (write_single_file, "out.safetensors")):
        with pytest.raises(CheckpointError, match=r"conv_in\.bias of unet has 8 of 8 values"):
            write(start, tmp_path / out, network=unet)
    assert list(tmp_path.iterdir()) == []


def test_a_run_from_a_model_that_is_not_finite_ends_before_anything_is_drawn(
    tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(tiny_folder, wrong)
    change(wrong / VAE, lambda tensors: tensors[min(tensors)].fill_(float("inf")))
    out = ("--concept", "church", "--out", tmp_path / "out", "--cache", tmp_path / "cache")
    refused(("erase", wrong, *out), "vae", "NaN or infinite")


def test_a_single_file_of_sd_2_states_every_component(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from support.models.tiny_models import SD2_LIKE, write_pipeline

    folder = write_pipeline(tmp_path_factory.mktemp("sd2") / "model", SD2_LIKE)
    start = read_checkpoint(folder)
    write_single_file(start, tmp_path / "two.safetensors", dtype=torch.float16)
    verification = verify(tmp_path / "two.safetensors")
    assert verification.passed
    assert not verification.unchecked
    assert {f"{name} weights" for name in start.components} <= {c.name for c in verification.checks}
