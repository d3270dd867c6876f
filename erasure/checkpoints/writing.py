"""What both outputs share: which UNet goes out, under which provenance."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from erasure.checkpoints.casting import Cast
from erasure.checkpoints.checking import require_names, require_no_more, require_shapes
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.provenance import Provenance
from erasure.hashing import weights_hash


@dataclass(frozen=True, slots=True)
class Written:
    """What came out."""

    path: Path
    unet_hash: str
    """`weights_hash` of the UNet as written, in its written type."""
    provenance: Provenance | None
    """What the header says, with `result_hash` filled in."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A UNet about to be written."""

    unet: Mapping[str, Tensor]
    unet_hash: str
    provenance: Provenance | None

    def header(self) -> dict[str, str]:
        """`erasure.*` entries, none where nothing was erased."""
        return {} if self.provenance is None else self.provenance.to_header()


def outgoing(
    checkpoint: Checkpoint,
    unet: Mapping[str, Tensor] | None,
    provenance: Provenance | None,
    dtype: torch.dtype | None,
) -> Outgoing:
    """The UNet to write and its provenance, which holds the hash of the values as written.

    Without a new UNet the checkpoint's own goes out, with the provenance it came with.

    Raises:
        CheckpointError: the new UNet has other names or shapes than the checkpoint's.
    """
    if unet is None:
        unet, provenance = checkpoint.unet, provenance or checkpoint.provenance
    require_names(unet, checkpoint.unet, "the new UNet")
    require_no_more(unet, checkpoint.unet, "the new UNet")
    require_shapes(unet, checkpoint.unet, "the new UNet")
    result = weights_hash(Cast(unet, dtype))
    if provenance is not None:
        provenance = replace(provenance, result_hash=result)
    return Outgoing(unet, result, provenance)
