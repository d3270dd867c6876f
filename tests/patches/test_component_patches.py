"""Edits of a text encoder in patches, folders and single files: exact, named, and both ways."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.console import erasure
from support.models.tiny_models import SD2_SMALL, write_pipeline
from support.models.tiny_sdxl import write_sdxl
from support.results.edited import edit_record
from support.tiny import TINY, assert_same_bits
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.provenance import Provenance
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.checkpoints.verification import verify
from erasure.checkpoints.writing.card import model_card
from erasure.checkpoints.writing.folder import write_folder
from erasure.errors import CheckpointError, PatchError
from erasure.patches.patch_file import BY_COMPONENT, FORMAT, load_patch, load_patches


def moved(weights: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, weight in weights.items():
        free = torch.rand(weight.shape, generator=generator) < 0.3
        out[name] = torch.where(free & ("position_ids" not in name), weight + 0.25, weight)
    return out


def edited(start: Checkpoint, component: str, concept: str, seed: int) -> Checkpoint:
    """Change one component of a checkpoint, and record it as an erasure does."""
    after = start.having(component, moved(start.components[component], seed))
    made = edit_record(
        concept,
        base=start.name,
        base_hash=start.hash_of(component),
        component=component,
        result_hash=after.hash_of(component),
    )
    return replace(after, provenance=Provenance(edits=(*start.edits, made)))


@pytest.fixture(scope="module", params=["sd1", "sd2", "sdxl"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, str]:
    """A base, the same with an edited UNet and an edited text encoder, and which encoder."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sdxl":
        base, component = write_sdxl(folder / "base"), "text_encoder_2"
    else:
        size = TINY if request.param == "sd1" else SD2_SMALL
        base, component = write_pipeline(folder / "base", size), "text_encoder"
    once = edited(read_checkpoint(base), "unet", "church", 1)
    twice = edited(once, component, "dog", 2)
    write_folder(twice, folder / "twice")
    return base, folder / "twice", component


@pytest.mark.default("sd1")
def test_a_folder_and_a_single_file_hold_and_state_both_edits(
    pair: tuple[Path, Path, str], tmp_path: Path
) -> None:
    _, twice, component = pair
    file = tmp_path / "one.safetensors"
    assert erasure("export", twice, "--out", file).code == 0
    after = read_checkpoint(twice)
    for path in (twice, file):
        said = verify(path)
        assert said.passed, said.checks
        assert said.hashes[component] == after.hash_of(component)
    alone = read_checkpoint(file)
    assert [edit.component for edit in alone.edits] == ["unet", component]
    for name in after.components:
        assert_same_bits(
            {k: v for k, v in alone.components[name].items() if v.is_floating_point()},
            {k: v for k, v in after.components[name].items() if v.is_floating_point()},
        )


@pytest.mark.default("sd1")
def test_a_patch_carries_every_component_and_goes_in_and_out_to_the_bit(
    pair: tuple[Path, Path, str], tmp_path: Path
) -> None:
    base, twice, component = pair
    patch = tmp_path / "both.patch"
    said = erasure("export", twice, "--to", "patch", "--base", base, "--out", patch)
    assert said.code == 0, said.err
    assert set(load_patches(patch)) == {"unet", component}
    with pytest.raises(PatchError, match=f"changes unet and {component}, and one component"):
        load_patch(patch)
    start, after = read_checkpoint(base), read_checkpoint(twice)
    put, back = tmp_path / "in", tmp_path / "out"
    said = erasure("patch", "apply", base, patch, "--out", put, "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)[component] == after.hash_of(component)
    assert read_checkpoint(put).edits == after.edits
    assert erasure("patch", "remove", put, patch, "--out", back).code == 0
    for name in start.components:
        assert read_checkpoint(put).hash_of(name) == after.hash_of(name)
        assert read_checkpoint(back).hash_of(name) == start.hash_of(name)
    restored = read_checkpoint(back).provenance
    assert restored is not None
    assert restored.restored is not None
    assert set(restored.restored.bases) == {"unet", component}
    assert verify(back).passed


def test_a_patch_of_a_text_encoder_alone_has_its_own_edit_and_stacks(
    tiny_folder: Path, tmp_path: Path
) -> None:
    base, component = tiny_folder, "text_encoder"
    start = read_checkpoint(base)
    files = []
    for name, concept, seed in (("unet", "church", 1), (component, "dog", 2), (component, "ox", 3)):
        run = tmp_path / concept
        write_folder(edited(start, name, concept, seed), run)
        files.append(tmp_path / f"{concept}.patch")
        line = ("export", run, "--to", "patch", "--base", base, "--out", files[-1])
        assert erasure(*line).code == 0
    formats = [safe_open(file, framework="pt").metadata()["format"] for file in files]
    assert formats == [FORMAT, BY_COMPONENT, BY_COMPONENT]  # a UNet's is read by older versions
    assert load_patch(files[1]).info.component == component
    assert load_patch(files[1]).info.concepts == ("dog",)
    stacked, out = tmp_path / "all.patch", tmp_path / "all"
    assert erasure("patch", "stack", base, *files, "--out", stacked).code == 0
    assert erasure("patch", "apply", base, stacked, "--out", out).code == 0
    made = read_checkpoint(out)
    assert [edit.concept for edit in made.edits] == ["church", "dog", "ox"]
    assert made.network_hash() == read_checkpoint(tmp_path / "church").network_hash()
    assert erasure("patch", "remove", out, stacked, "--out", tmp_path / "none").code == 0
    assert read_checkpoint(tmp_path / "none").hash_of(component) == start.hash_of(component)


@pytest.fixture(scope="module")
def dog(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dog") / "dog"
    write_folder(edited(tiny_checkpoint, "text_encoder", "dog", 2), folder)
    return folder


def test_a_text_encoder_from_before_its_edit_is_noticed(
    dog: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    start, after = read_checkpoint(tiny_folder), read_checkpoint(dog)
    undone = replace(start, provenance=after.provenance)
    write_folder(undone, tmp_path / "undone")
    said = verify(tmp_path / "undone")
    failed = [check for check in said.checks if not check.passed]
    assert [check.name for check in failed] == ["text encoder after its edits"]
    assert failed[0].actual == "the one before dog was erased"
    page = erasure("verify", dog).out
    assert f"text encoder hash {after.hash_of('text_encoder')}" in " ".join(page.split())
    assert f"text encoder {start.hash_of('text_encoder')[:12]} -> " in " ".join(page.split())


def test_the_card_names_the_part_that_was_edited(dog: Path) -> None:
    made = read_checkpoint(dog).provenance
    assert made is not None
    card = model_card(made, base="tiny")
    assert f"| text encoder before | `{made.last.base_hash}` |" in card
    assert "All parts but the text encoder are those of the base model." in card


def test_what_is_wrong_with_a_patch_by_component_is_named(
    dog: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "dog.patch"
    assert erasure("export", dog, "--to", "patch", "--base", tiny_folder, "--out", file).code == 0
    said = erasure("patch", "apply", dog, file, "--out", tmp_path / "again")
    assert said.code == 2
    assert "the patch is applied already" in said.err
    metadata = safe_open(file, framework="pt").metadata()
    assert json.loads(metadata["parts"]).keys() == {"text_encoder"}
    save_file(load_file(file), file, {**metadata, "parts": "{}"})
    with pytest.raises(PatchError, match="does not match its checksum"):
        load_patches(file)


def test_other_weights_than_a_component_has_are_refused(tiny_checkpoint: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match="the new text_encoder has other names or shapes"):
        tiny_checkpoint.having("text_encoder", {"w": torch.zeros(1)})
