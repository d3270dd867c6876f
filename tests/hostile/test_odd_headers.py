"""Headers of safetensors files as few other files have them: read right, or refused in words."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from erasure.checkpoints.layout.openclip import usual_names
from erasure.checkpoints.reading.reading_file import open_file
from erasure.errors import CheckpointError, ErasureError
from erasure.masks.mask_file import load_mask
from erasure.masks.released_masks import load_released_mask
from erasure.patches.patch_file import load_patch
from erasure.storage.state_file import load_run
from erasure.storage.tensors.pickles import is_pickle
from erasure.storage.tensors.tensor_file import read_tensors
from pipelines.classifiers.model_file import load_classifier


def write(path: Path, entries: dict[str, object], data: bytes = b"", length: int = 0) -> Path:
    """A file with this header, filled up with spaces to a length."""
    header = json.dumps(entries).encode()
    header += b" " * max(length - len(header), -len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


@pytest.mark.parametrize("length", [640, 1152, 640 + 65536])
def test_a_header_whose_length_begins_like_a_pickle_is_read(length: int, tmp_path: Path) -> None:
    entry = {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    path = write(tmp_path / "sd.safetensors", entry, bytes(4), length)
    assert path.read_bytes()[:2] in (b"\x80\x02", b"\x80\x04")
    assert not is_pickle(path)
    assert open_file(path).tensors["w"].tolist() == [0.0]


def test_a_pickle_under_another_name_is_still_one(tmp_path: Path) -> None:
    for name, zipped in (("old.model", False), ("new.model", True)):
        torch.save({"w": torch.zeros(1)}, tmp_path / name, _use_new_zipfile_serialization=zipped)
        assert is_pickle(tmp_path / name)


SHAPES = {
    "above 63 bits": [2**63, 0],
    "strides above 63 bits": [0, 2**62, 2**62],
    "many axes": [1] * 70 + [0],
}
READERS: dict[str, Callable[[Path], object]] = {
    "file": read_tensors,
    "patch": load_patch,
    "mask": load_mask,
    "released mask": load_released_mask,
    "state": lambda path: load_run(path, kind="k", run="r"),
    "classifier": load_classifier,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_empty_tensor_of_a_shape_that_cannot_be_is_one_sentence(
    shape: list[int], reader: str, tmp_path: Path
) -> None:
    formats = {"mask": "erasure-mask 1", "classifier": "erasure-classifier 1"}
    entries: dict[str, object] = {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}
    entries["__metadata__"] = {"format": formats.get(reader, "")}
    path = write(tmp_path / "x.safetensors", entries)
    with pytest.raises(ErasureError, match=r"damaged|no training state|is not a training") as err:
        READERS[reader](path)
    assert "\n" not in str(err.value)


def test_empty_and_single_numbers_are_read_as_they_are(tmp_path: Path) -> None:
    tensors = {"none": torch.zeros(0, 3), "one": torch.tensor(2.0), "odd": torch.zeros(1).half()}
    save_file(tensors, tmp_path / "x.safetensors")
    held = read_tensors(tmp_path / "x.safetensors").tensors
    assert {name: tuple(value.shape) for name, value in held.items()} == {
        "none": (0, 3),
        "one": (),
        "odd": (1,),
    }


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float16, torch.float32])
def test_a_projection_under_both_its_names_may_be_of_two_types(kind: torch.dtype) -> None:
    matrix = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    both = {"text_projection": matrix.to(kind), "text_projection.weight": matrix.t().half()}
    assert list(usual_names(both)) == ["text_projection"]
    with pytest.raises(CheckpointError, match="one is not the transpose"):
        usual_names(both | {"text_projection": (matrix + 1).to(kind)})
