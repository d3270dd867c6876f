"""The edit as a sparse, reversible patch: which weights moved, and by which bits.

A difference is the exclusive or of the stored bits before and after. Applying it twice gives back
the first bits, so one operation both applies and removes, exactly, in any floating point type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from erasure.component_names import FIRST_MAIN
from erasure.errors import PatchError
from erasure.masks.packed import pack, unpack
from erasure.storage.tensors.hashing import rounded_hash, weights_hash

BITS: Final = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Bytes of a weight -> the integer type that holds its bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchInfo:
    """What a patch belongs to."""

    base: str
    """`erasure.storage.tensors.hashing.weights_hash` of the weights it applies to."""
    result: str
    """The same of what comes out."""
    concepts: tuple[str, ...] = ()
    """What is gone once it is applied."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """How the edits were made: `Provenance.to_dict`, empty where it is not known."""
    component: str = FIRST_MAIN
    """Which component of the model its weights are of, by its folder in the diffusers layout."""
    rounded: bool = False
    """Whether the hashes are of an older file: `erasure.storage.tensors.hashing.rounded_hash`."""

    def hash(self, weights: Mapping[str, Tensor]) -> str:
        """The hash of weights as this patch has its own."""
        return rounded_hash(weights) if self.rounded else weights_hash(weights)


@dataclass(frozen=True, slots=True)
class PatchEntry:
    """The weights of one parameter that moved."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    """Type in which the weights are stored."""
    where: Tensor
    """Flat positions of the k moved weights: int32 (k,), or one bit a weight, uint8 (n / 8,)."""
    difference: Tensor
    """Exclusive or of their bits, (k,), an integer as wide as the weight."""

    def positions(self, device: torch.device) -> Tensor:
        """Index into the flat parameter: int64 (k,), or bool (n,)."""
        if self.where.dtype == torch.int32:
            return self.where.to(device, torch.int64)
        return unpack(self.where, [_size(self.shape)]).to(device)


@dataclass(frozen=True, slots=True)
class Patch:
    """Parameter name -> the weights of it that moved; what is not named did not."""

    entries: Mapping[str, PatchEntry] = field(repr=False)
    info: PatchInfo

    @property
    def moved(self) -> int:
        """How many weights differ."""
        return sum(entry.difference.numel() for entry in self.entries.values())


def bits_of(weight: Tensor) -> Tensor:
    """The stored bits of a weight as integers, flat, on CPU.

    Raises:
        PatchError: its type is narrower than 16 bits.
    """
    flat = weight.detach().cpu().contiguous().reshape(-1)
    if flat.element_size() not in BITS:
        raise PatchError(f"weights of type {weight.dtype} cannot be patched; give fp16 or wider")
    return flat.view(BITS[flat.element_size()])


def make_patch(
    base: Mapping[str, Tensor],
    edited: Mapping[str, Tensor],
    *,
    concepts: tuple[str, ...] = (),
    provenance: Mapping[str, Any] | None = None,
    component: str = FIRST_MAIN,
) -> Patch:
    """What turns `base` into `edited`; both name -> weight, of the same names, shapes and types.

    Positions are kept as a list or as packed bits, whichever is smaller for the parameter.

    Raises:
        PatchError: names, shapes or types differ.
    """
    _require_alike(base, edited)
    entries = {}
    for name, before in base.items():
        old, new = bits_of(before), bits_of(edited[name])
        moved = old != new
        count = int(moved.count_nonzero())
        if count:
            listed = moved.nonzero().squeeze(1).to(torch.int32)
            where = listed if 32 * count < moved.numel() else pack(moved)
            difference = old[moved] ^ new[moved]
            entries[name] = PatchEntry(tuple(before.shape), before.dtype, where, difference)
    info = PatchInfo(
        base=weights_hash(base),
        result=weights_hash(edited),
        concepts=concepts,
        provenance=provenance or {},
        component=component,
    )
    return Patch(entries, info)


def _require_alike(base: Mapping[str, Tensor], edited: Mapping[str, Tensor]) -> None:
    if odd := sorted(set(base) ^ set(edited)):
        raise PatchError(f"only one of the two models has {odd[0]}; give two of one architecture")
    for name, before in base.items():
        after = edited[name]
        if before.shape != after.shape or before.dtype != after.dtype:
            raise PatchError(
                f"{name} is {before.dtype} {tuple(before.shape)} in the base and {after.dtype} "
                f"{tuple(after.shape)} in the other; give two models of one architecture and type"
            )


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())
