"""Factors on disk: whole again, or refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.tiny import seeded

from erasure.errors import CheckpointError
from erasure.solving.factor_file import FORMAT, load_factors, save_factors
from erasure.solving.factors import Factors


def some() -> Factors:
    draw = seeded()
    return Factors(
        torch.randn(4, 2, generator=draw, dtype=torch.float64),
        torch.randn(2, 3, generator=draw, dtype=torch.float64),
    )


def test_factors_are_read_as_they_were_written(tmp_path: Path) -> None:
    path, one = tmp_path / "f.safetensors", some()
    save_factors(path, {"a.b.weight": one}, base="x", result="y")
    (name, read), *rest = load_factors(path, result="y").items()
    assert (name, rest) == ("a.b.weight", [])
    torch.testing.assert_close(read.change(), one.change(), rtol=1e-6, atol=1e-6)  # float32


def test_factors_of_another_edit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    save_factors(path, {"a": some()}, base="x", result="y")
    with pytest.raises(CheckpointError, match="belongs to the network 'y', not to 'z'"):
        load_factors(path, result="z")


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"a.up": torch.ones(2, 2)}, "damaged at 'a'"),
        ({"a.up": torch.ones(2, 2), "a.down": torch.ones(3, 2)}, "damaged at 'a'"),
        ({"a.up": torch.ones(2), "a.down": torch.ones(2, 2)}, "damaged at 'a'"),
        ({"a.up": torch.full((2, 1), torch.nan), "a.down": torch.ones(1, 2)}, "not finite"),
    ],
)
def test_damaged_factors_are_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], words: str
) -> None:
    path = tmp_path / "f.safetensors"
    save_file(tensors, path, {"format": FORMAT, "result": "y"})
    with pytest.raises(CheckpointError, match=words):
        load_factors(path, result="y")


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    save_file({"a": torch.ones(2)}, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match="has format 'pt', not 'erasure-factors 1'"):
        load_factors(path, result="y")


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.int32, torch.complex64])
def test_numbers_of_a_type_that_no_factors_have_are_refused(
    kind: torch.dtype, tmp_path: Path
) -> None:
    path = tmp_path / "f.safetensors"
    tensors = {"a.up": torch.ones(2, 1).to(kind), "a.down": torch.ones(1, 2).to(kind)}
    save_file(tensors, path, {"format": FORMAT, "result": "y"})
    with pytest.raises(CheckpointError, match="is damaged at 'a'"):
        load_factors(path, result="y")
