"""Which weights of each parameter, at eight weights a byte."""

# n weights of one parameter.

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from erasure.errors import MaskError

_ONES: Final = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)
"""How many bits of each byte are set."""


class PackedBits(Mapping[str, Tensor]):
    """Name -> bool tensor of a parameter's shape, on the CPU, kept as a bit a weight.

    An entry is unpacked each time it is asked for, about 1 ns a weight, so whoever needs it twice
    holds on to it; a change of what was unpacked does not reach the mask. FLUX.1 has a mask of
    1.5 GB, where bytes would be 11.9.
    """

    __slots__ = ("_packed", "_shapes")

    def __init__(self, packed: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> None:
        """Take over what `pack` made.

        Args:
            packed: name -> uint8 (ceil(n / 8),) on the CPU, the bits behind the last weight zero.
            shapes: the shape of each parameter, by the same names in the same order.
        """
        self._packed = dict(packed)
        self._shapes = {name: torch.Size(shape) for name, shape in shapes.items()}

    @classmethod
    def of(cls, entries: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]) -> "PackedBits":
        """Pack bool tensors one after the other, so that no two need be there together.

        Raises:
            MaskError: one is of another type.
        """
        packed, shapes = {}, {}
        for name, entry in entries.items() if isinstance(entries, Mapping) else entries:
            if entry.dtype != torch.bool:
                raise MaskError(f"the mask of {name} has type {entry.dtype}, not torch.bool")
            packed[name], shapes[name] = pack(entry), entry.shape
        return cls(packed, shapes)

    def __getitem__(self, name: str) -> Tensor:
        return unpack(self._packed[name], list(self._shapes[name]))

    def __contains__(self, name: object) -> bool:
        return name in self._packed  # that of `Mapping` would unpack it

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    @property
    def packed(self) -> Mapping[str, Tensor]:
        """Name -> uint8 (ceil(n / 8),), as `pack` lays the bits."""
        return self._packed

    @property
    def shapes(self) -> Mapping[str, torch.Size]:
        """Name -> shape of the parameter."""
        return self._shapes

    @property
    def nbytes(self) -> int:
        """Bytes of all bits."""
        return sum(bits.nbytes for bits in self._packed.values())

    def counts(self) -> dict[str, int]:
        """How many weights of each parameter are chosen, without unpacking them."""
        return {name: ones(bits) for name, bits in self._packed.items()}


def pack(entry: Tensor) -> Tensor:
    """Bool tensor of n weights -> uint8 (ceil(n / 8),) on CPU, lowest bit first."""
    flat = entry.detach().reshape(-1).cpu().numpy()
    return torch.from_numpy(np.packbits(flat, bitorder="little"))


def unpack(packed: Tensor, shape: list[int]) -> Tensor:
    """The inverse of `pack`."""
    bits = np.unpackbits(packed.numpy(), count=math.prod(shape), bitorder="little")
    return torch.from_numpy(bits.view(np.bool_)).reshape(shape)


def ones(packed: Tensor) -> int:
    """How many bits are set, (m,) uint8 on the CPU."""
    return int(_ONES[packed.numpy()].sum(dtype=np.int64))
