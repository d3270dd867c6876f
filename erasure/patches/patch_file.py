"""Patches on disk: safetensors with the moved weights alone.

Tensors: `NAME.where` and `NAME.difference` as in `PatchEntry`. Metadata: `format`, the fields of
`PatchInfo`, `weights` (JSON list of [name, shape, type]) and `checksum`, a SHA-256 of all else.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from erasure.errors import PatchError
from erasure.patches.patch import BITS, Patch, PatchEntry, PatchInfo
from erasure.storage.json_text import parsed
from erasure.storage.tensor_file import read_tensors, write_tensors

FORMAT: Final = "erasure-patch 2"
_FIRST: Final = "erasure-patch 1"
"""The same, with hashes of values rounded to float32, which differ for float64 alone; and with the
provenance of a single edit."""
_REMEDY: Final = "export the patch again, or fetch it again"
_LARGEST: Final = 2**31 - 1  # weights of one parameter: positions are int32
_TYPES: Final = {
    str(kind).removeprefix("torch."): kind
    for kind in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
}


def save_patch(path: Path, patch: Patch) -> None:
    """Write a patch atomically; whatever was at `path` is replaced.

    Raises:
        CheckpointError: the disk refuses.
    """
    tensors: dict[str, Tensor] = {}
    for name, entry in patch.entries.items():
        tensors[f"{name}.where"] = entry.where
        tensors[f"{name}.difference"] = entry.difference
    weights = [
        [name, list(entry.shape), str(entry.dtype).removeprefix("torch.")]
        for name, entry in patch.entries.items()
    ]
    metadata = {
        "format": _FIRST if patch.info.rounded else FORMAT,
        "base": patch.info.base,
        "result": patch.info.result,
        "concepts": json.dumps(patch.info.concepts, ensure_ascii=False),
        "provenance": json.dumps(patch.info.provenance, sort_keys=True, ensure_ascii=False),
        "moved": str(patch.moved),
        "weights": json.dumps(weights),
    }
    write_tensors(path, tensors, {**metadata, "checksum": _checksum(metadata, tensors)})


def load_patch(path: Path) -> Patch:
    """Read what `save_patch` wrote; the tensors stay mapped to the file.

    Raises:
        CheckpointError: there is no such file, or it is no safetensors file.
        PatchError: it is no patch, of another version, or damaged.
    """
    file = read_tensors(path)
    format_name = file.metadata.get("format")
    if format_name not in (FORMAT, _FIRST):
        raise PatchError(
            f"{path} has format {format_name!r}, not {FORMAT!r}; give a file that "
            "`erasure export --to patch` wrote"
        )
    stated = {k: v for k, v in file.metadata.items() if k != "checksum"}
    if file.metadata.get("checksum") != _checksum(stated, file.tensors):
        raise PatchError(f"{path} is damaged: it does not match its checksum; {_REMEDY}")
    try:
        return Patch(dict(_entries(stated, file.tensors)), _info(stated))
    except (KeyError, TypeError, ValueError) as err:
        raise PatchError(f"the header of {path} is damaged ({err}); {_REMEDY}") from err


def _info(metadata: Mapping[str, str]) -> PatchInfo:
    provenance: Any = parsed(metadata["provenance"])
    concepts: Any = parsed(metadata["concepts"])
    if not isinstance(provenance, dict):
        raise TypeError("its provenance is no JSON object")
    if not isinstance(concepts, list) or not all(isinstance(word, str) for word in concepts):
        raise TypeError("its concepts are no list of texts")
    return PatchInfo(
        base=metadata["base"],
        result=metadata["result"],
        concepts=tuple(concepts),
        provenance=provenance,
        rounded=metadata["format"] == _FIRST,
    )


def _entries(
    metadata: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> Iterator[tuple[str, PatchEntry]]:
    names = set()
    for name, shape, kind in parsed(metadata["weights"]):
        dtype, difference = _TYPES[kind], tensors[f"{name}.difference"]
        if difference.dtype != BITS[dtype.itemsize]:
            raise ValueError(f"{name} has differences of type {difference.dtype} for {dtype}")
        entry = PatchEntry(tuple(shape), dtype, tensors[f"{name}.where"], difference)
        _require_positions(name, entry)
        names |= {f"{name}.where", f"{name}.difference"}
        yield name, entry
    if names != set(tensors):
        raise ValueError("it names other weights than it holds")


def _require_positions(name: str, entry: PatchEntry) -> None:
    """Raise ValueError unless there is one position for each difference, all of them different and
    within the weight: two that are the same would not undo each other."""
    if not all(type(side) is int and 0 <= side <= _LARGEST for side in entry.shape):
        raise ValueError(f"{name} has the shape {entry.shape}")
    size, where = math.prod(entry.shape), entry.where
    if entry.difference.ndim != 1 or where.ndim != 1 or size > _LARGEST:
        raise ValueError(f"{name} has positions or differences that are no plain list")
    if where.dtype == torch.int32:
        count = len(where)
        ordered = not count or bool((where[1:] > where[:-1]).all())
        fits = ordered and (not count or (int(where[0]) >= 0 and int(where[-1]) < size))
    elif where.dtype == torch.uint8 and len(where) == (size + 7) // 8:
        bits = np.unpackbits(where.numpy(), bitorder="little")
        count, fits = int(bits.sum()), not bits[size:].any()
    else:
        raise ValueError(f"{name} has positions of type {where.dtype}, {len(where)} of them")
    if not fits or count != len(entry.difference):
        raise ValueError(
            f"{name} has {count} positions for {len(entry.difference)} differences, or some that "
            f"its {size} weights do not have"
        )


def _checksum(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        flat = tensors[name].contiguous().reshape(-1)
        digest.update(name.encode())
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
