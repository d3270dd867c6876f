"""Weights that are NaN or infinite are found in every type, in folders and in single files."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from erasure.checkpoints import read_checkpoint, write_single_file
from erasure.checkpoints.checks.finite import is_finite
from erasure.errors import CheckpointError
from erasure.storage.tensors.tensor_file import read_tensors

TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 17, -1])
def test_one_value_is_found_wherever_it_stands(
    dtype: torch.dtype, value: float, place: int
) -> None:
    weight = torch.linspace(-1000, 1000, 35).to(dtype)
    assert is_finite(weight)
    weight[place] = value
    assert not is_finite(weight)
    assert not is_finite(weight.reshape(5, 7).t())


def test_what_has_no_value_or_no_fraction_is_finite() -> None:
    assert is_finite(torch.zeros(0))
    assert is_finite(torch.tensor([2**62]))
    assert is_finite(torch.tensor([torch.finfo(torch.float16).max]).half())


def test_a_single_file_says_which_component_and_tensor(tiny_folder: Path, tmp_path: Path) -> None:
    path = write_single_file(read_checkpoint(tiny_folder), tmp_path / "m.safetensors").path
    tensors = load_file(path)
    tensors["first_stage_model.encoder.conv_in.bias"][0] = float("inf")
    save_file(tensors, path)
    with pytest.raises(
        CheckpointError, match=r"the vae of .* infinite values in 1 weight \(encoder\.conv_in\.bias"
    ):
        read_checkpoint(path, config=tiny_folder)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.complex64])
def test_a_weight_of_no_part_that_is_not_finite_is_left_out_before_any_work(
    kind: torch.dtype, tiny_folder: Path, tmp_path: Path
) -> None:
    path = write_single_file(read_checkpoint(tiny_folder), tmp_path / "m.safetensors").path
    odd = {"odd.nan": torch.full((2,), float("nan")).to(kind), "odd.whole": torch.ones(2)}
    save_file(load_file(path) | odd, path)
    read = read_checkpoint(path, config=tiny_folder)
    assert list(read.extras) == ["odd.whole"]
    assert any("1 weight with NaN or infinite values" in note for note in read.notes)
    again = write_single_file(read, tmp_path / "again.safetensors").path
    assert "odd.whole" in read_tensors(again).tensors
    assert "odd.nan" not in read_tensors(again).tensors


KINDS = [torch.float8_e8m0fnu, torch.float8_e4m3fnuz, torch.float4_e2m1fn_x2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["file", "folder"])
def test_a_weight_of_no_part_that_could_not_be_written_is_refused_when_it_is_read(
    form: str, kind: torch.dtype, tiny_folder: Path, tmp_path: Path
) -> None:
    odd = {"odd": torch.zeros(4, dtype=torch.uint8).view(kind)}
    if form == "folder":
        path = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
        save_file(odd, path / "original_extras.safetensors")
    else:
        path = write_single_file(read_checkpoint(tiny_folder), tmp_path / "m.safetensors").path
        save_file(load_file(path) | odd, path)
    with pytest.raises(CheckpointError, match=r"stores 'odd' as float\d_\w+, a type that is not"):
        read_checkpoint(path, config=tiny_folder if form == "file" else None)
