"""What a sanitized checkpoint says of itself, and how that is checked."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from erasure.checkpoints import (
    ModelSpec,
    Provenance,
    merge_selected,
    model_card,
    read_checkpoint,
    verify,
    write_folder,
    write_single_file,
)
from erasure.checkpoints.tensor_file import data_hash, read_tensors
from erasure.errors import CheckpointError
from erasure.hashing import weights_hash

SOME = Provenance(
    base_hash="ab" * 32,
    mask_hash="cd" * 32,
    concept="church | tower\nwith a line",
    objective="random-label",
    config={"steps": 3, "alpha": 1.0, "instead": None},
    density=0.5,
    selected=10,
    moved=9,
    total=20,
    version="0.1.0",
    created="2026-01-01T00:00:00+00:00",
)


def edited(unet: dict[str, Tensor]) -> dict[str, Tensor]:
    name = "conv_in.weight"
    return merge_selected(unet, {name: unet[name] + 1}, {name: torch.ones_like(unet[name]).bool()})


def test_header_and_json_are_read_back_as_the_same_value() -> None:
    assert Provenance.from_header(SOME.to_header(), "file") == SOME
    assert Provenance.from_dict(json.loads(json.dumps(SOME.to_dict()))) == SOME
    assert Provenance.from_dict({**SOME.to_dict(), "later": 1}) == SOME
    assert Provenance.from_header({"format": "pt"}, "file") is None
    assert all(isinstance(value, str) for value in SOME.to_header().values())
    assert SOME.to_header()["erasure.config"] == '{"alpha": 1.0, "instead": null, "steps": 3}'


def test_other_formats_and_damage_are_refused() -> None:
    with pytest.raises(CheckpointError, match="format 'erasure-checkpoint 9', not"):
        Provenance.from_dict({**SOME.to_dict(), "format": "erasure-checkpoint 9"})
    with pytest.raises(CheckpointError, match=r"incomplete provenance.*base_hash"):
        Provenance.from_dict({"format": SOME.format})
    with pytest.raises(CheckpointError, match="moved is 'many', not int"):
        Provenance.from_dict({**SOME.to_dict(), "moved": "many"})
    with pytest.raises(CheckpointError, match=r"erasure\.config is not JSON"):
        Provenance.from_header({**SOME.to_header(), "erasure.config": "{"}, "file")


def test_the_header_of_a_single_file(sd1: Path, tmp_path: Path) -> None:
    start = read_checkpoint(sd1)
    file = tmp_path / "one.safetensors"
    written = write_single_file(
        start,
        file,
        unet=edited(dict(start.unet)),
        provenance=SOME,
        spec=ModelSpec(title="No church", license="other"),
    )
    content = file.read_bytes()
    assert content[8:10] == b'{"'
    with safe_open(file, "pt") as opened:
        header = opened.metadata()
    assert header["format"] == "pt"
    assert header["modelspec.sai_model_spec"] == "1.0.1"
    assert header["modelspec.architecture"] == "stable-diffusion-v1"
    assert header["modelspec.implementation"] == "sgm"
    assert header["modelspec.title"] == "No church"
    assert header["modelspec.resolution"] == "64x64"
    assert header["modelspec.prediction_type"] == "epsilon"
    assert header["modelspec.date"] == SOME.created
    assert "modelspec.author" not in header
    assert header["modelspec.hash_sha256"] == data_hash(file)
    assert Provenance.from_header(header, "file") == written.provenance
    assert not [name for name in read_tensors(file).tensors if name.startswith("model_ema")]


@pytest.mark.parametrize("dtype", [None, torch.float16])
@pytest.mark.parametrize("kind", ["sd1", "sd2", "small"])
def test_what_was_written_verifies_in_every_form(
    kind: str, dtype: torch.dtype | None, folders: dict[str, Path], tmp_path: Path
) -> None:
    start = read_checkpoint(folders[kind])
    unet = edited(dict(start.unet))
    file, folder = tmp_path / "one.safetensors", tmp_path / "run" / "model"
    for written in (
        write_single_file(start, file, unet=unet, provenance=SOME, dtype=dtype),
        write_folder(start, folder, unet=unet, provenance=SOME, dtype=dtype),
    ):
        stored = {n: w.to(dtype or w.dtype) for n, w in unet.items()}
        assert written.unet_hash == weights_hash(stored)
        assert written.provenance == replace(SOME, result_hash=written.unet_hash)
        found = verify(written.path)
        assert found.passed
        assert found.provenance == written.provenance
    assert [check.name for check in verify(file).checks] == ["UNet", "file data"]
    assert verify(tmp_path / "run").passed

    # A copy keeps the story and gets the hash of its own values.
    again = write_single_file(
        read_checkpoint(folder), tmp_path / "copy.safetensors", dtype=torch.bfloat16
    )
    assert verify(again.path).passed
    assert again.provenance is not None
    assert again.provenance.concept == SOME.concept


def test_a_changed_byte_is_found(sd1: Path, tmp_path: Path) -> None:
    start = read_checkpoint(sd1)
    file, folder = tmp_path / "one.safetensors", tmp_path / "run" / "model"
    write_single_file(start, file, provenance=SOME)
    write_folder(start, folder, provenance=SOME)
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    for path in (file, unet):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    assert not verify(file).passed
    assert not verify(folder).passed
    assert not verify(tmp_path / "run").passed


def test_a_record_that_disagrees_with_the_header_is_found(sd1: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "model"
    written = write_folder(read_checkpoint(sd1), folder, provenance=SOME)
    assert written.provenance is not None
    record = {**written.provenance.to_dict(), "concept": "dog"}
    (tmp_path / "run" / "erasure.json").write_text(json.dumps(record))
    found = verify(tmp_path / "run")
    assert [check.passed for check in found.checks] == [True, True, False]
    assert found.checks[-1].found == "other concept"


def test_what_states_nothing_cannot_be_verified(sd1: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="states no provenance"):
        verify(sd1)
    with pytest.raises(CheckpointError, match="does not exist"):
        verify(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        verify(tmp_path)
    write_single_file(read_checkpoint(sd1), tmp_path / "copy.safetensors")
    plain = verify(tmp_path / "copy.safetensors")
    assert plain.passed
    assert plain.provenance is None


def test_the_card_has_metadata_picture_table_and_limits() -> None:
    from huggingface_hub import ModelCard

    text = model_card(
        replace(SOME, result_hash="ef" * 32),
        base="SD 1.5",
        base_id="org/sd15",
        license_id="creativeml-openrail-m",
        grid="grid.png",
    )
    data = ModelCard(text).data.to_dict()
    assert data["license"] == "creativeml-openrail-m"
    assert data["library_name"] == "diffusers"
    assert data["base_model"] == "org/sd15"
    assert "concept-erasure" in data["tags"]
    assert "# SD 1.5 without church \\| tower with a line\n" in text
    assert "(grid.png)" in text
    assert "`" + "ef" * 32 + "`" in text
    assert "## Limits" in text
    other = ModelCard(model_card(SOME, base="demo")).data.to_dict()
    assert other["license_name"] == "that of demo"
    assert "base_model" not in other
