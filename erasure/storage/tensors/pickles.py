"""Weights in pickles: refused by default, since opening one can run any code it holds."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from erasure.errors import CheckpointError, way
from erasure.storage.bare_names import shown
from erasure.storage.regular_files import require_regular
from erasure.storage.tensors.tensor_file import HEADER_WORDS, TensorFile

SUFFIXES: Final = (".ckpt", ".pt", ".pth", ".bin")
_MAGIC: Final = (b"PK\x03\x04", b"\x80\x02", b"\x80\x04")
_LENGTH: Final = 8
"""Bytes of the length that a safetensors file begins with; a header of that length follows."""


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle, by its name or, whatever the name, by its first bytes.

    A safetensors file begins with the length of its header, which may be the same bytes: 640 is
    80 02 00.
    """
    if path.suffix.lower() in SUFFIXES:
        return True
    require_regular(path)
    with path.open("rb") as file:
        start = file.read(_LENGTH + 1)
    header = int.from_bytes(start[:_LENGTH], "little")
    if start[_LENGTH:] == b"{" and header <= path.stat().st_size - _LENGTH:
        return False
    return start.startswith(_MAGIC)


def plain_tensor(value: Tensor, name: str, path: Path) -> Tensor:
    """The tensor by itself, where it holds each of its numbers one after the other.

    Raises:
        CheckpointError: it is sparse, quantised, without data, or larger than what is stored of it.
    """
    strided = value.layout == torch.strided and not value.is_quantized and not value.is_meta
    if not strided or value.untyped_storage().nbytes() < value.numel() * value.element_size():
        raise CheckpointError(
            f"{path} holds {shown(name)} in a form other than one number after the other; convert "
            "it to .safetensors"
        )
    return value.detach()


def _is_name(name: object) -> bool:
    """Whether a header can hold a tensor under this name."""
    try:
        return isinstance(name, str) and name != HEADER_WORDS and bool(name.encode())
    except UnicodeEncodeError:  # half a surrogate pair
        return False


def read_pickle(path: Path, *, allowed: bool) -> TensorFile:
    """Read the tensors, in `state_dict` or on top, with `weights_only=True` and no other way.

    Raises:
        CheckpointError: not allowed, named as safetensors, damaged, or it holds more than tensors
            and plain values.
    """
    if not allowed:
        raise CheckpointError(
            f"{path} is a pickle, which can run code when it is opened; convert it to .safetensors "
            "(on the hub most repositories have one, or use its space safetensors/convert), or "
            "give ",
            way("allow_pickle", True),
            " to read it with weights_only=True",
        )
    if path.suffix == ".safetensors":  # torch goes by the name, and would not read a pickle in it
        raise CheckpointError(
            f"{path} is a pickle under the name of another format; rename it to end in .ckpt"
        )
    try:
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except Exception as err:  # what is damaged in a pickle may raise anything
        reason = str(err).partition("\n")[0]
        raise CheckpointError(
            f"{path} cannot be read with weights_only=True: it is damaged or holds more than "
            f"tensors ({reason}); convert it to .safetensors"
        ) from err
    if isinstance(content, Mapping):
        content = content.get("state_dict", content)
    listed = content.items() if isinstance(content, Mapping) else ()
    held = {name: value for name, value in listed if isinstance(value, Tensor)}
    if nameless := [name for name in held if not _is_name(name)]:
        raise CheckpointError(
            f"{path} holds a tensor under {shown(nameless[0])}, which is no name of a weight; "
            "convert the model to .safetensors"
        )
    tensors = {name: plain_tensor(value, name, path) for name, value in held.items()}
    if not tensors:
        raise CheckpointError(f"{path} holds no named tensors; give a Stable Diffusion checkpoint")
    return TensorFile(tensors, {})
