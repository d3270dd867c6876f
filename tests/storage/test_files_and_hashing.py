"""Files that are whole or not there, hashes of weights, and the cache."""

import errno
import json
import logging
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from support.leftovers import without_owners
from support.tiny import seeded
from torch import Tensor

from erasure.errors import CheckpointError, DiskError
from erasure.storage.cache import TensorCache, content_key
from erasure.storage.files import atomic, write_json
from erasure.storage.tensors.hashing import rounded_hash, weights_hash
from erasure.storage.tensors.tensor_file import write_tensors


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    with atomic(path) as part:
        assert part.parent == path.parent
        assert without_owners(part.name) == "file.txt.part"
        part.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, ""), ValueError()])
def test_whatever_fails_the_old_file_stays_and_no_part_of_the_new(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write() -> None:
        with atomic(path) as part:
            part.write_text("half")
            raise error

    full = isinstance(error, OSError)
    with pytest.raises(DiskError if full else type(error), match="disk is full" if full else None):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_file_in_the_place_of_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match=r"cannot write .*weights: "):
        write_tensors(tmp_path / "file" / "weights", WEIGHTS, {})


def test_tensors_are_read_back_with_their_metadata(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    square = torch.arange(6.0).reshape(2, 3)
    write_tensors(path, {"turned": square.T, "one": torch.tensor(3)}, {"kind": "some"})
    tensors = load_file(path)
    assert torch.equal(tensors["turned"], square.T)
    assert torch.equal(tensors["one"], torch.tensor(3))
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"format": "pt", "kind": "some"}


@pytest.mark.parametrize("kind", [torch.uint16, torch.uint32, torch.uint64, torch.complex64])
def test_a_type_that_no_weight_has_is_read_back_too(kind: torch.dtype, tmp_path: Path) -> None:
    values = torch.arange(5).to(kind)
    write_tensors(tmp_path / "x.safetensors", {"odd": values, "w": torch.zeros(3)}, {})
    read = load_file(tmp_path / "x.safetensors")["odd"]
    assert read.dtype == kind
    assert read.tolist() == values.tolist()


def test_a_type_that_is_not_written_is_one_clear_error(tmp_path: Path) -> None:
    odd = {"odd": torch.zeros(2).to(torch.complex128)}
    with pytest.raises(CheckpointError, match=r"'odd' is of the type torch\.complex128"):
        write_tensors(tmp_path / "x.safetensors", odd, {})
    assert not list(tmp_path.iterdir())


WEIGHTS = {"a": torch.randn(3, 4, generator=seeded()), "b": torch.randn(5, generator=seeded(1))}


def test_a_hash_is_the_same_for_ever() -> None:
    # Another value here means that no published mask fits its base any more.
    weights = {"w": torch.tensor([[1.0, -2.0]]), "v": torch.tensor(0.5)}
    assert (
        weights_hash(weights) == "3445042136b5f76e78cf907d5b0813d245f8e7723bd3926e9df8c0316ecd5f86"
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_copy_in_a_wider_type_or_another_order_has_the_same_hash(dtype: torch.dtype) -> None:
    narrow = {name: value.to(dtype) for name, value in WEIGHTS.items()}
    wide = {name: narrow[name].float() for name in reversed(list(narrow))}
    assert weights_hash(narrow) == weights_hash(wide)
    assert weights_hash(narrow) != weights_hash(WEIGHTS)


def test_memory_layout_and_gradients_do_not_count() -> None:
    turned = WEIGHTS["a"].T.contiguous().T.requires_grad_()
    assert not turned.is_contiguous()
    assert weights_hash({**WEIGHTS, "a": turned}) == weights_hash(WEIGHTS)


@given(name=st.sampled_from("ab"), place=st.integers(0, 4), bit=st.integers(0, 31))
def test_any_changed_bit_changes_the_hash(name: str, place: int, bit: int) -> None:
    flipped = WEIGHTS[name].clone()
    whole = flipped.view(-1).view(torch.int32)
    whole[place] ^= -(2**31) if bit == 31 else 2**bit
    assert weights_hash({**WEIGHTS, name: flipped}) != weights_hash(WEIGHTS)


TYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.complex64,
    torch.complex128,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@given(content=st.binary(min_size=16, max_size=16), bit=st.integers(0, 127))
def test_any_changed_bit_of_any_type_changes_the_hash(
    dtype: torch.dtype, content: bytes, bit: int
) -> None:
    stored = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    flipped = stored.clone()
    flipped[bit // 8] ^= 1 << bit % 8
    hashes = {weights_hash({"w": raw.view(dtype)}) for raw in (stored, flipped)}
    assert len(hashes) == 2


def test_values_that_differ_beyond_float32_have_hashes_of_their_own() -> None:
    for pair in (
        (torch.tensor(1.0, dtype=torch.float64), torch.tensor(1.0 + 1e-12, dtype=torch.float64)),
        (torch.tensor(2**53), torch.tensor(2**53 + 1)),
        # A signalling and a quiet NaN: on the way to float32 the one becomes the other.
        tuple(torch.tensor([n], dtype=torch.int16).view(torch.float16) for n in (0x7D00, 0x7F00)),
        (torch.tensor(1 + 1j), torch.tensor(1 + 2j)),
        (torch.tensor(True), torch.tensor(False)),
    ):
        one, other = (weights_hash({"w": value}) for value in pair)
        assert one != other


def test_hashes_that_were_ever_written_stay_where_float32_holds_the_values() -> None:
    whole = {
        "half": torch.randn(5, generator=seeded()).half(),
        "count": torch.tensor(3),
        "ids": torch.arange(7, dtype=torch.int32),
        "flags": torch.tensor([True, False]),
        "double": torch.tensor([0.5, -0.0], dtype=torch.float64),
        "none": torch.zeros(0, dtype=torch.float64),
    }
    assert weights_hash(whole) == rounded_hash(whole)
    wide = {"w": torch.tensor(0.1, dtype=torch.float64)}
    assert weights_hash(wide) != rounded_hash(wide)


def test_names_and_shapes_count() -> None:
    start = weights_hash(WEIGHTS)
    assert weights_hash({"a": WEIGHTS["a"], "c": WEIGHTS["b"]}) != start
    assert weights_hash({**WEIGHTS, "a": WEIGHTS["a"].reshape(4, 3)}) != start
    assert weights_hash({"a": WEIGHTS["a"]}) != start


@settings(max_examples=30)
@given(st.dictionaries(st.text(), st.integers() | st.text(), max_size=4))
def test_a_key_is_that_of_the_content_in_any_order(parts: dict[str, object]) -> None:
    turned = dict(reversed(list(parts.items())))
    assert content_key(**parts) == content_key(**turned)
    assert len(content_key(**parts)) == 32
    assert content_key(**parts) != content_key(**parts, one_more=1)


class Maker:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> dict[str, Tensor]:
        self.made += 1
        return {"x": torch.randn(3, generator=seeded()), "n": torch.arange(4)}


def test_a_cache_makes_once_and_returns_the_same(tmp_path: Path) -> None:
    cache, make = TensorCache(tmp_path / "cache"), Maker()
    first, second = cache.get("kind", "key", make), cache.get("kind", "key", make)
    assert make.made == 1
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    cache.get("kind", "other", make)
    cache.get("other", "key", make)
    assert make.made == 3


@pytest.mark.parametrize("size", [0, 7, 60, 150])
def test_a_damaged_entry_is_made_again(
    tmp_path: Path, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    cache, make = TensorCache(tmp_path), Maker()
    first = cache.get("kind", "key", make)
    (path,) = tmp_path.rglob("*.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[:size])
    with caplog.at_level(logging.WARNING):
        again = cache.get("kind", "key", make)
    assert make.made == 2
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert path.read_bytes() == content
    assert "is damaged" in caplog.text
    cache.get("kind", "key", make)
    assert make.made == 2


def test_what_fails_to_be_made_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> dict[str, Tensor]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TensorCache(tmp_path).get("kind", "key", fail)
    assert list(tmp_path.rglob("*")) == []


def test_json_is_written_whole_in_utf8_even_where_a_path_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    value = {"name": "Zürich", "path": os.fsdecode(b"caf\xe9"), "numbers": [1, 2.5]}
    write_json(path, value)
    assert "Zürich".encode() in path.read_bytes()
    assert path.read_bytes().endswith(b"}\n")
    assert json.loads(path.read_bytes()) == value
    with pytest.raises(TypeError):
        write_json(path, {"what": object()})
    assert json.loads(path.read_bytes()) == value  # as it was
    assert [file.name for file in path.parent.iterdir()] == ["file.json"]


def test_json_on_one_line_is_one_line(tmp_path: Path) -> None:
    write_json(tmp_path / "line.json", {"a": [1, 2]}, indent=None)
    assert (tmp_path / "line.json").read_text() == '{"a": [1, 2]}\n'
