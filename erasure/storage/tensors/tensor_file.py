"""The safetensors container: read without copying, write one tensor at a time.

Written here rather than by the library, because the header holds a hash of the data that follows,
and because a change of number type then needs memory for one tensor, not for all.

Source: the format as safetensors documents it: 8 bytes header length, JSON header, data without
gaps; wider types first keep every tensor aligned.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from erasure.errors import CheckpointError
from erasure.storage.bare_names import shown
from erasure.storage.disk import require_space
from erasure.storage.files import atomic
from erasure.storage.regular_files import require_regular
from erasure.storage.tensors.casting import cast, dtype_after

HEADER_WORDS: Final = "__metadata__"
"""Where a header has its words, among the names of tensors."""
DATA_HASH: Final = "modelspec.hash_sha256"
"""Header key of the SHA-256 of all bytes after the header, `0x` in front (ModelSpec 1.0.1)."""

_DTYPES: Final = {
    torch.complex64: "C64",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.uint64: "U64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.uint32: "U32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int16: "I16",
    torch.uint16: "U16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_MOST_AXES: Final = 16
"""Those of weights are five; torch computes with no more than 64, and NumPy with fewer."""
_LARGEST: Final = 2**48
"""Most numbers of a tensor whose empty axes had one; torch counts bytes up to 2**63."""
_LFS: Final = b"version https://git-lfs"
_GGUF: Final = b"GGUF"


@dataclass(frozen=True, slots=True)
class TensorFile:
    """What one weights file holds; CPU tensors in their stored type, read from disk when used."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    notes: tuple[str, ...] = ()
    """What was taken for granted in finding it: a sentence each, to be shown."""


def read_tensors(path: Path) -> TensorFile:
    """Open a safetensors file; the tensors stay mapped to it, so this costs no memory.

    Raises:
        CheckpointError: no such file, or damaged, cut short, or another format.
    """
    if require_regular(path).is_dir():
        raise CheckpointError(f"{path} is a folder; give a .safetensors file")
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; give a model folder or a .safetensors file")
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            return TensorFile(tensors_in(opened), opened.metadata() or {})
    except SafetensorError as err:
        raise CheckpointError(f"{path} {_damage(path)} ({err})") from err
    except OSError as err:
        raise CheckpointError(f"cannot read {path}: {err.strerror or err}") from err


def require_types(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError where a tensor is of a type that `write_tensors` could not write again,
    as are scales and codes of quantised weights: before any work, and not at its end."""
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise CheckpointError(
                f"{path} stores {shown(name)} as {str(tensor.dtype).removeprefix('torch.')}, a "
                "type that is not read here; give the same model in float32, float16 or bfloat16"
            )


def tensors_in(opened: Any) -> dict[str, Tensor]:  # noqa: ANN401
    """Every tensor of a file that `safe_open` opened, by name.

    Raises:
        SafetensorError: a tensor cannot be read, or has a shape that torch cannot compute with: a
            header may state any shape for a tensor without a number.
    """
    return {name: _tensor_in(opened, name) for name in opened.keys()}


def _tensor_in(opened: Any, name: str) -> Tensor:  # noqa: ANN401
    shape = opened.get_slice(name).get_shape()
    if len(shape) > _MOST_AXES or math.prod(max(side, 1) for side in shape) > _LARGEST:
        raise SafetensorError(f"{shown(name)} has the shape {shown(shape)}, which no tensor has")
    tensor: Tensor = opened.get_tensor(name)
    return tensor


def _damage(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(len(_LFS))
    if start == _LFS:
        return "is a Git LFS pointer, not the weights; run `git lfs pull` in that repository"
    if start.startswith(_GGUF):
        return (
            "is a GGUF file, whose weights are quantised as a rule and cannot be edited; give the "
            "same model in float32, float16 or bfloat16 as .safetensors"
        )
    return "is damaged or cut short, or is no safetensors file; fetch or write it again"


def data_hash(path: Path) -> str:
    """`0x` and the SHA-256 of all bytes after the header, as `modelspec.hash_sha256` wants it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(int.from_bytes(file.read(8), "little"), 1)
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return f"0x{digest.hexdigest()}"


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    dtype: torch.dtype | None = None,
    keep: Path | None = None,
) -> None:
    """Write atomically; `format` = `pt` and, if the header names it, the data hash are filled in.

    Args:
        path: a `.safetensors` file; replaced if it exists.
        tensors: any devices, contiguous or not.
        metadata: strings; the value of `modelspec.hash_sha256`, if the key is there, is computed.
        dtype: type to store floating point tensors in; None keeps each tensor's own.
        keep: where the file that was at `path` goes, as for `atomic`; None drops it.

    Raises:
        CheckpointError: a tensor is of a type that is not written; or the disk is full,
            read-only, ...; nothing of the file is left then.
    """
    header, order = _header(tensors, metadata, dtype)
    require_space(path, sum(_size(tensors[name], dtype) for name in order) + len(header))
    with atomic(path, keep=keep) as part, part.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        digest = _write_data(file, [tensors[name] for name in order], dtype)
        if DATA_HASH in metadata:
            final, _ = _header(tensors, {**metadata, DATA_HASH: digest}, dtype)
            assert len(final) == len(header), "the hash has one length"
            file.seek(8)
            file.write(final)


def _write_data(file: BinaryIO, tensors: list[Tensor], dtype: torch.dtype | None) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        flat = cast(tensor.detach(), dtype).cpu().contiguous().reshape(-1)
        data = flat.view(torch.uint8).numpy().data
        digest.update(data)
        file.write(data)
    return f"0x{digest.hexdigest()}"


def _header(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], dtype: torch.dtype | None
) -> tuple[bytes, list[str]]:
    """The header, `__metadata__` first, padded to 8 bytes; and the names in the order of data."""
    placeholder = {DATA_HASH: f"0x{'0' * 64}"} if metadata.get(DATA_HASH) == "" else {}
    entries: dict[str, Any] = {HEADER_WORDS: {"format": "pt", **metadata, **placeholder}}
    order = sorted(tensors, key=lambda n: (-dtype_after(tensors[n], dtype).itemsize, n))
    end = 0
    for name in order:
        start, end = end, end + _size(tensors[name], dtype)
        kind = dtype_after(tensors[name], dtype)
        if kind not in _DTYPES:
            raise CheckpointError(
                f"{name[:120]!r} is of the type {kind}, which is not written; take it out, or give "
                "the model in another type"
            )
        shape = list(tensors[name].shape)
        entries[name] = {"dtype": _DTYPES[kind], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8), order  # begins with `{"`, as A1111 wants


def _size(tensor: Tensor, dtype: torch.dtype | None) -> int:
    return tensor.numel() * dtype_after(tensor, dtype).itemsize
