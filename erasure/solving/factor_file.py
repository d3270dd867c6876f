"""The factors of a closed-form edit on disk, from which a LoRA is made without loss.

Tensors: `NAME.up`, (o, r), and `NAME.down`, (r, d), float32. Metadata: `format`, and the hashes of
the network before (`base`) and after (`result`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from erasure.errors import CheckpointError
from erasure.solving.factors import Factors
from erasure.storage.tensors.tensor_file import read_tensors, write_tensors

FORMAT: Final = "erasure-factors 1"
_NUMBERS: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def save_factors(path: Path, factors: Mapping[str, Factors], *, base: str, result: str) -> None:
    """Write the factors of an edit atomically.

    Args:
        base: `weights_hash` of the network before.
        result: the same after.

    Raises:
        DiskError: the disk refuses.
    """
    tensors: dict[str, Tensor] = {}
    for name, one in factors.items():
        tensors |= {f"{name}.up": one.up.float(), f"{name}.down": one.down.float()}
    write_tensors(path, tensors, {"format": FORMAT, "base": base, "result": result})


def load_factors(path: Path, *, result: str) -> dict[str, Factors]:
    """Read what `save_factors` wrote, as float64.

    Args:
        result: `weights_hash` of the network whose factors are wanted.

    Raises:
        CheckpointError: there is no such file, it is damaged or of another format, or belongs to
            another edit.
    """
    file = read_tensors(path)
    again = "erase again to have it written"
    if file.metadata.get("format") != FORMAT:
        stated = file.metadata.get("format")
        raise CheckpointError(f"{path} has format {stated!r:.60}, not {FORMAT!r}; {again}")
    if file.metadata.get("result") != result:
        stated = str(file.metadata.get("result"))
        raise CheckpointError(
            f"{path} belongs to the network {stated[:12]!r}, not to {result[:12]!r}; give the run "
            "that it was written with"
        )
    factors = {}
    for name in sorted({key.rpartition(".")[0] for key in file.tensors}):
        up, down = (file.tensors.get(f"{name}.{part}") for part in ("up", "down"))
        if up is None or down is None or not _fit(up, down):
            raise CheckpointError(f"{path} is damaged at {name[:80]!r}; {again}")
        if not (torch.isfinite(up).all() and torch.isfinite(down).all()):
            raise CheckpointError(f"{path} holds numbers that are not finite; {again}")
        factors[name] = Factors(up.double(), down.double())
    return factors


def _fit(up: Tensor, down: Tensor) -> bool:
    numbers = up.dtype in _NUMBERS and down.dtype in _NUMBERS
    return numbers and up.dim() == down.dim() == 2 and up.shape[1] == down.shape[0]
