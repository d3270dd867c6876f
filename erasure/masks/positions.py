"""Where the selected weights of a parameter lie, in few bytes."""

# n weights of one parameter, s of them selected.

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from erasure.masks.packed import pack, unpack

FEW: Final = 2**18
"""Up to so many positions (1 MB) are kept as indices, which need not be found again at each use."""


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """The places of the selected weights in the flat parameter, in ascending order.

    Kept as indices of 4 bytes a selected weight (8 in parameters of 2**31 weights or more), or as
    one bit a weight where those are many and the bits are shorter: 1/32 of the memory at density 1,
    1/16 at density 0.5. Reading them from bits takes about 1 ns a weight on a CPU.
    """

    places: Tensor
    """Indices, (s,), int32 or int64; or bits as `erasure.masks.packed.pack` lays them, uint8."""
    size: int
    """n"""

    @classmethod
    def of(cls, chosen: Tensor, device: torch.device) -> "Positions":
        """Note the True entries of a bool tensor of any shape, on `device`."""
        size, count = chosen.numel(), int(torch.count_nonzero(chosen))
        if count > FEW and 32 * count > size:
            return cls(pack(chosen).to(device), size)
        narrow = torch.int32 if size < 2**31 else torch.int64
        return cls(chosen.flatten().nonzero().flatten().to(device, narrow), size)

    def indices(self) -> Tensor:
        """(s,), int32 or int64, on the device."""
        if self.places.dtype != torch.uint8:
            return self.places
        if self.places.device.type == "cpu":  # numpy finds bits 8 times as fast as torch on a CPU
            return torch.from_numpy(np.flatnonzero(unpack(self.places, [self.size]).numpy()))
        return positions_of_bits(self.places, self.size)


def positions_of_bits(packed: Tensor, size: int) -> Tensor:
    """Indices of the ones among the first `size` bits, lowest first, int64, on any device."""
    places = torch.arange(8, dtype=torch.uint8, device=packed.device)
    bits = packed.unsqueeze(1).bitwise_right_shift(places).bitwise_and_(1)  # (n / 8, 8)
    return bits.view(-1)[:size].nonzero().flatten()
