"""Patches on disk: safetensors with the moved weights alone.

Tensors: `NAME.where` and `NAME.difference` as in `PatchEntry`. Metadata: `format`, the fields of
`PatchInfo`, `weights` (JSON list of [name, shape, type]) and `checksum`, a SHA-256 of all else.

A file of the third format holds a patch for each component that was edited: tensors have
`COMPONENT/` before their names, and `parts` (JSON) has `base`, `result` and `weights` of each. The
change of a UNet alone is written in the second format, which more versions read.
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

from erasure.component_names import FIRST_MAIN
from erasure.errors import PatchError
from erasure.patches.patch import BITS, Patch, PatchEntry, PatchInfo
from erasure.storage.bare_names import require_bare
from erasure.storage.json_text import parsed
from erasure.storage.tensors.tensor_file import read_tensors, write_tensors

FORMAT: Final = "erasure-patch 2"
BY_COMPONENT: Final = "erasure-patch 3"
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
    """Write the patch of one component atomically; whatever was at `path` is replaced.

    Raises:
        CheckpointError: the disk refuses.
    """
    save_patches(path, {patch.info.component: patch})


def save_patches(path: Path, patches: Mapping[str, Patch]) -> None:
    """Write the patches of one model, component -> its patch, atomically; see `save_patch`.

    The concepts and the provenance are those of the first, which all of them have.

    Raises:
        CheckpointError: the disk refuses.
    """
    alone = patches.get(FIRST_MAIN) if len(patches) == 1 else None
    tensors: dict[str, Tensor] = {}
    for component, patch in patches.items():
        before = "" if alone else f"{component}/"
        for name, entry in patch.entries.items():
            tensors[f"{before}{name}.where"] = entry.where
            tensors[f"{before}{name}.difference"] = entry.difference
    first = next(iter(patches.values()))
    metadata = {
        "concepts": json.dumps(first.info.concepts, ensure_ascii=False),
        "provenance": json.dumps(first.info.provenance, sort_keys=True, ensure_ascii=False),
        "moved": str(sum(patch.moved for patch in patches.values())),
    }
    if alone:
        metadata |= {
            "format": _FIRST if alone.info.rounded else FORMAT,
            "base": alone.info.base,
            "result": alone.info.result,
            "weights": json.dumps(_listed(alone)),
        }
    else:
        parts = {
            component: {
                "base": patch.info.base,
                "result": patch.info.result,
                "weights": _listed(patch),
            }
            for component, patch in patches.items()
        }
        metadata |= {"format": BY_COMPONENT, "parts": json.dumps(parts)}
    write_tensors(path, tensors, {**metadata, "checksum": _checksum(metadata, tensors)})


def _listed(patch: Patch) -> list[list[Any]]:
    """Name, shape and type of each weight."""
    return [
        [name, list(entry.shape), str(entry.dtype).removeprefix("torch.")]
        for name, entry in patch.entries.items()
    ]


def load_patch(path: Path) -> Patch:
    """Read a file that changes one component; see `load_patches`.

    Args:
        path: a file that `save_patch` or `erasure export --to patch` wrote.

    Raises:
        CheckpointError: there is no such file, or it is no safetensors file.
        PatchError: it is no patch, of another version, damaged, or changes several components.

    Examples:
        >>> load_patch(Path("church.patch")).info.concepts
        ('church',)
    """
    patches = load_patches(path)
    if len(patches) > 1:
        raise PatchError(
            f"{path} changes {' and '.join(patches)}, and one component alone is wanted; read it "
            "with load_patches, or apply it with `erasure patch apply`"
        )
    return next(iter(patches.values()))


def load_patches(path: Path) -> dict[str, Patch]:
    """Read what `save_patches` wrote, component -> its patch; the tensors stay mapped to the file.

    Raises:
        CheckpointError: there is no such file, or it is no safetensors file.
        PatchError: it is no patch, of another version, or damaged.
    """
    file = read_tensors(path)
    format_name = file.metadata.get("format")
    if format_name not in (BY_COMPONENT, FORMAT, _FIRST):
        raise PatchError(
            f"{path} has format {format_name!r}, not {FORMAT!r}; give a file that "
            "`erasure export --to patch` wrote"
        )
    stated = {k: v for k, v in file.metadata.items() if k != "checksum"}
    if file.metadata.get("checksum") != _checksum(stated, file.tensors):
        raise PatchError(f"{path} is damaged: it does not match its checksum; {_REMEDY}")
    try:
        return dict(_patches(stated, file.tensors))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as err:
        raise PatchError(f"the header of {path} is damaged ({err}); {_REMEDY}") from err


def _patches(
    metadata: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> Iterator[tuple[str, Patch]]:
    if metadata["format"] != BY_COMPONENT:
        whole = {**metadata, "weights": parsed(metadata["weights"])}
        yield FIRST_MAIN, Patch(dict(_entries(whole, tensors)), _info(whole, FIRST_MAIN))
        return
    parts = parsed(metadata["parts"])
    for component in parts:
        require_bare(component, "the patch")
        own = {
            name.removeprefix(f"{component}/"): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"{component}/")
        }
        whole = {**metadata, **parts[component]}
        yield component, Patch(dict(_entries(whole, own)), _info(whole, component))
    if not parts or any(name.partition("/")[0] not in parts for name in tensors):
        raise ValueError("it names other components than it holds")


def _info(metadata: Mapping[str, Any], component: str) -> PatchInfo:
    provenance: Any = parsed(metadata["provenance"])
    concepts: Any = parsed(metadata["concepts"])
    if not isinstance(provenance, dict):
        raise TypeError("its provenance is no JSON object")
    if not isinstance(concepts, list) or not all(isinstance(word, str) for word in concepts):
        raise TypeError("its concepts are no list of texts")
    if not isinstance(metadata["base"], str) or not isinstance(metadata["result"], str):
        raise TypeError("its base and its result are no hashes")
    return PatchInfo(
        base=metadata["base"],
        result=metadata["result"],
        concepts=tuple(concepts),
        provenance=provenance,
        component=component,
        rounded=metadata["format"] == _FIRST,
    )


def _entries(
    metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Iterator[tuple[str, PatchEntry]]:
    names = set()
    for name, shape, kind in metadata["weights"]:
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
