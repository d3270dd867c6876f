"""What a sanitized checkpoint says of itself, and how that is checked."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from erasure.checkpoints import (
    EditRecord,
    ModelSpec,
    Provenance,
    merge_selected,
    model_card,
    read_checkpoint,
    verify,
    write_folder,
    write_single_file,
)
from erasure.checkpoints.provenance import Restored
from erasure.errors import CheckpointError
from erasure.storage.tensors.hashing import weights_hash
from erasure.storage.tensors.tensor_file import data_hash, read_tensors

CHURCH = EditRecord(
    base="SD 1.5",
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
SOME = Provenance(edits=(CHURCH,))
OLD = {**CHURCH.to_dict(), "format": "erasure-checkpoint 1"}
"""As versions with one edit wrote it."""


def with_result(provenance: Provenance, result: str) -> Provenance:
    *before, last = provenance.edits
    return Provenance(edits=(*before, replace(last, result_hash=result)))


def edited(unet: dict[str, Tensor]) -> dict[str, Tensor]:
    name = "conv_in.weight"
    return merge_selected(unet, {name: unet[name] + 1}, {name: torch.ones_like(unet[name]).bool()})


def test_header_and_json_are_read_back_as_the_same_value() -> None:
    dog = replace(CHURCH, concept="dog", base="church", base_hash="ef" * 32)
    gone = Restored(concepts=("a", "b"), bases={"unet": "12" * 32})
    for value in (SOME, Provenance(edits=(CHURCH, dog)), Provenance(restored=gone)):
        assert Provenance.from_header(value.to_header(), "file") == value
        assert Provenance.from_dict(json.loads(json.dumps(value.to_dict()))) == value
        assert Provenance.from_dict({**value.to_dict(), "later": 1}) == value
        assert all(isinstance(text, str) for text in value.to_header().values())
    assert Provenance.from_header({"format": "pt"}, "file") is None
    assert Provenance.from_header(Provenance().to_header(), "file") is None
    assert Provenance(edits=(CHURCH, dog, CHURCH)).concepts == (CHURCH.concept, "dog")


def test_what_versions_with_one_edit_wrote_is_a_list_of_one() -> None:
    header = {
        f"erasure.{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in OLD.items()
        if name != "base"
    }
    wanted = Provenance(edits=(replace(CHURCH, base=""),))
    assert Provenance.from_header(header, "file") == wanted
    assert Provenance.from_dict({k: v for k, v in OLD.items() if k != "base"}) == wanted


def test_other_formats_and_damage_are_refused() -> None:
    with pytest.raises(CheckpointError, match="format 'erasure-checkpoint 9', not"):
        Provenance.from_dict({**SOME.to_dict(), "format": "erasure-checkpoint 9"})
    with pytest.raises(CheckpointError, match=r"edit\.concept is missing; get it again"):
        Provenance.from_dict({"format": "erasure-checkpoint 1"})
    with pytest.raises(CheckpointError, match=r"edit\.moved is 'many', not a whole number; get it"):
        Provenance.from_dict({**OLD, "moved": "many"})
    with pytest.raises(CheckpointError, match=r"edit\.density is None, not a number; get it"):
        Provenance.from_dict({**OLD, "density": None})
    with pytest.raises(CheckpointError, match="no list of edits"):
        Provenance.from_dict({**SOME.to_dict(), "edits": {"a": 1}})
    with pytest.raises(CheckpointError, match="restored is"):
        Provenance.from_dict({**SOME.to_dict(), "restored": ["church"]})
    with pytest.raises(CheckpointError, match=r"erasure\.edits is not JSON"):
        Provenance.from_header({**SOME.to_header(), "erasure.edits": "[" * 50_000}, "file")


def test_the_header_of_a_single_file(sd1: Path, tmp_path: Path) -> None:
    start = read_checkpoint(sd1)
    file = tmp_path / "one.safetensors"
    written = write_single_file(
        start,
        file,
        network=edited(dict(start.network)),
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
    assert header["modelspec.date"] == CHURCH.created
    assert "modelspec.author" not in header
    assert header["modelspec.hash_sha256"] == data_hash(file)
    assert Provenance.from_header(header, "file") == written.provenance
    assert not [name for name in read_tensors(file).tensors if name.startswith("model_ema")]


@pytest.mark.default("small")
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("sd1", None), ("sd1", torch.float16), ("sd2", torch.float16), ("small", None)],
)
def test_what_was_written_verifies_in_every_form(
    kind: str, dtype: torch.dtype | None, folders: dict[str, Path], tmp_path: Path
) -> None:
    start = read_checkpoint(folders[kind])
    unet = edited(dict(start.network))
    file, folder = tmp_path / "one.safetensors", tmp_path / "run" / "model"
    for written in (
        write_single_file(start, file, network=unet, provenance=SOME, dtype=dtype),
        write_folder(start, folder, network=unet, provenance=SOME, dtype=dtype),
    ):
        stored = {n: w.to(dtype or w.dtype) for n, w in unet.items()}
        assert written.network_hash == weights_hash(stored)
        assert written.provenance == with_result(SOME, written.network_hash)
        verification = verify(written.path)
        assert verification.passed
        assert verification.provenance == written.provenance
    names = [check.name for check in verify(file).checks]
    weights = [f"{name} weights" for name in start.components]
    assert names == [*weights, "values", "UNet after its edits", "file data", "header words"]
    assert not verify(file).unchecked
    assert verify(tmp_path / "run").passed

    # A copy keeps the story and gets the hash of its own values.
    again = write_single_file(
        read_checkpoint(folder), tmp_path / "copy.safetensors", dtype=torch.bfloat16
    )
    assert verify(again.path).passed
    assert again.provenance is not None
    assert again.provenance == verify(folder).provenance
    assert again.network_hash != again.provenance.last.result_hash or dtype is torch.bfloat16


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
    other = Provenance(edits=(replace(written.provenance.last, concept="dog"),))
    (tmp_path / "run" / "erasure.json").write_text(json.dumps(other.to_dict()))
    verification = verify(tmp_path / "run")
    odd = [check for check in verification.checks if not check.passed]
    assert [(check.name, check.actual) for check in odd] == [
        ("edits in erasure.json", "other concept"),
        ("mask.safetensors", odd[-1].actual),
    ]
    assert "there is no mask file" in odd[-1].actual


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
        with_result(SOME, "ef" * 32),
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


def test_the_card_names_the_methods_that_were_used_and_no_other() -> None:
    by_esd = replace(CHURCH, config={"method": "esd"})
    by_uce = replace(CHURCH, concept="dog", config={"method": "uce"})
    text = model_card(Provenance(edits=(by_esd, by_uce)), base="demo")
    assert "The picture above" not in text  # there is none
    assert "by `esd` and `uce`." in text
    assert "- esd\n- uce\n" in text
    assert "salun" not in text.lower()
