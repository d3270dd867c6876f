"""Masks on disk: safetensors with eight weights a byte, 0.11 GB for the UNet of SD 1.x.

Tensors: parameter name -> uint8 of ceil(n / 8) bytes, the weights in flat order from the lowest
bit up. Metadata: `format`, every field of `MaskInfo`, `shapes` (JSON list of
[name, shape] in the order of the mask), `selected`, `hash` (`mask_hash`), and `checksum` over all
the other metadata.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from erasure.component_names import FIRST_MAIN
from erasure.errors import MaskError
from erasure.masks.masks import MaskInfo, MaskKind, SaliencyMask
from erasure.masks.packed import PackedBits
from erasure.storage.bare_names import shown
from erasure.storage.regular_files import require_regular
from erasure.storage.tensors.tensor_file import tensors_in, write_tensors
from erasure.work import Work

FORMAT: Final = "erasure-mask 1"

_REMEDY: Final = "make the mask again with `erasure mask`"


def mask_hash(mask: SaliencyMask) -> str:
    """SHA-256 of names, shapes and selected weights, whatever their order, device or description.

    Returns:
        64 hex digits.
    """
    digest = hashlib.sha256()
    bits = mask.bits
    for name in sorted(bits):
        digest.update(f"{name}{list(bits.shapes[name])}".encode())
        digest.update(bits.packed[name].numpy().data)
    return digest.hexdigest()


def save_mask(path: Path, mask: SaliencyMask) -> None:
    """Write a mask atomically; whatever was at `path` is replaced.

    Args:
        path: of the file, which should end in `.safetensors`.
        mask: one bit a weight is written, and what the mask says of itself.

    Raises:
        DiskError: the disk refuses.

    Examples:
        >>> save_mask(Path("church.safetensors"), mask)
    """
    info = {key: "" if value is None else str(value) for key, value in asdict(mask.info).items()}
    later = {  # no fields of the first masks, so they are there where they are known alone
        "work": mask.info.work and mask.info.work.to_dict(),
        "measured": mask.info.measured and dict(mask.info.measured),
    }
    for name, value in later.items():
        info.pop(name)
        if value is not None:
            info[name] = json.dumps(value, sort_keys=True)
    shapes = [[name, list(shape)] for name, shape in mask.bits.shapes.items()]
    metadata = {
        "format": FORMAT,
        **info,
        "shapes": json.dumps(shapes),
        "selected": str(mask.selected),
        "hash": mask_hash(mask),
    }
    write_tensors(path, mask.bits.packed, {**metadata, "checksum": _checksum(metadata)})


def load_mask(path: Path) -> SaliencyMask:
    """Read what `save_mask` wrote, on CPU, with its information and the order of its entries.

    Args:
        path: of the file.

    Raises:
        MaskError: the file is missing, damaged, of another format, or not what it claims to hold.

    Examples:
        >>> save_mask(Path("church.safetensors"), mask)
        >>> load_mask(Path("church.safetensors")).selected == mask.selected
        True
    """
    if not require_regular(path, MaskError).is_file():
        raise MaskError(f"there is no mask file {path}; {_REMEDY}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _require_format(path, metadata)
            packed = {name: bits.clone() for name, bits in tensors_in(file).items()}
    except (SafetensorError, OSError) as err:
        raise MaskError(f"{path} is damaged, unreadable or no safetensors file; {_REMEDY}") from err
    try:
        return _mask_from(packed, metadata)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as err:
        raise MaskError(f"the header of {path} is damaged ({err}); {_REMEDY}") from err
    except MaskError as err:
        raise MaskError(f"{path} is damaged: {err}; {_REMEDY}") from err


def is_mask_file(path: Path) -> bool:
    """Whether a file says in its header that it is a mask of ours, of any version.

    Raises:
        MaskError: it is a named pipe, a device or a socket.
    """
    require_regular(path, MaskError)
    try:
        with safe_open(path, framework="pt") as file:
            format_name: str = (file.metadata() or {}).get("format", "")
    except (SafetensorError, OSError):
        return False
    return format_name.split(" ")[0] == FORMAT.split(" ")[0]


def require_base(info: MaskInfo, base: str) -> None:
    """Check that a mask was made from the weights whose `weights_hash` is `base`.

    Raises:
        MaskError: it was made from others, or does not say from which.
    """
    if not info.base:
        raise MaskError("the mask does not say which model it was made from; make it again")
    if info.base != base:
        raise MaskError(
            f"the mask was made from base {info.base[:12]}, but this model is {base[:12]}; "
            "make a mask from this model or give the model it belongs to"
        )


def require_component(info: MaskInfo, component: str) -> None:
    """Raise MaskError unless a mask is of the component that is to be edited."""
    if info.component != component:
        raise MaskError(
            f"the mask is of the component {shown(info.component)}, but one of {component} is "
            f"wanted; make it with `erasure mask --component {component}`"
        )


def _require_format(path: Path, metadata: Mapping[str, str]) -> None:
    format_name = metadata.get("format")
    if format_name != FORMAT:
        raise MaskError(f"{path} has format {format_name!r}, not {FORMAT!r}; {_REMEDY}")


def _mask_from(packed: Mapping[str, Tensor], metadata: Mapping[str, str]) -> SaliencyMask:
    if metadata["checksum"] != _checksum(metadata):
        raise MaskError("its header does not match its checksum")
    shapes: dict[str, list[int]] = dict(json.loads(metadata["shapes"]))
    if set(shapes) != set(packed):
        raise MaskError("its header names other tensors than it holds")
    for name, shape in shapes.items():
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise MaskError(f"{name} has the shape {shown(shape)}")
        size = (math.prod(shape) + 7) // 8
        if packed[name].dtype != torch.uint8 or tuple(packed[name].shape) != (size,):
            raise MaskError(f"{name} is not {size} bytes of type uint8")
        if over := 8 * size - math.prod(shape):  # such bits would count as weights
            packed[name][-1] &= 255 >> over
    entries = PackedBits({name: packed[name] for name in shapes}, shapes)
    mask = SaliencyMask(entries, _info(metadata))
    if metadata["hash"] != mask_hash(mask):
        raise MaskError("its content does not match its hash")
    if mask.selected != int(metadata["selected"]):
        raise MaskError(f"it selects {mask.selected} weights, not {metadata['selected']}")
    return mask


def _info(metadata: Mapping[str, str]) -> MaskInfo:
    return MaskInfo(
        kind=cast(MaskKind, metadata["kind"]),  # Checked by MaskInfo.
        density=float(metadata["density"]),
        scope=metadata["scope"],
        loss=metadata["loss"],
        seed=int(metadata["seed"]) if metadata["seed"] else None,
        concept=metadata["concept"],
        base=metadata["base"],
        component=metadata.get("component", FIRST_MAIN),
        work=_work(metadata.get("work")),
        measured=_measured(metadata.get("measured")),
    )


def _work(text: str | None) -> Work | None:
    """Counts of a header; ValueError or TypeError where they are none."""
    if text is None:
        return None
    counts = json.loads(text)
    if not isinstance(counts, dict) or not all(type(n) is int and n >= 0 for n in counts.values()):
        raise ValueError(f"its work is {shown(text)}")
    return Work(**counts)


def _measured(text: str | None) -> Mapping[str, str] | None:
    """Settings of a header; ValueError or TypeError where they are none."""
    if text is None:
        return None
    settings = json.loads(text)
    if not isinstance(settings, dict) or not all(type(v) is str for v in settings.values()):
        raise ValueError(f"its settings of measuring are {shown(text)}")
    return settings


def _checksum(metadata: Mapping[str, str]) -> str:
    rest = {key: value for key, value in metadata.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
