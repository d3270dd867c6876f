"""What both outputs share: which weights go out, under which provenance, with which hashes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.checks.finite import require_storable
from erasure.checkpoints.provenance import Provenance
from erasure.checkpoints.reading.checking import require_names, require_no_more, require_shapes
from erasure.checkpoints.writing.inventory import EXTRAS, sealed_header, weights_of


@dataclass(frozen=True, slots=True)
class Written:
    """What came out."""

    path: Path
    network_hash: str
    """`weights_hash` of the main component as written, in its written type."""
    provenance: Provenance | None
    """What the header says, with the last edit's `result_hash` filled in; None where nothing was
    done."""
    hashes: Mapping[str, str]
    """Component -> `weights_hash` of it as written; and that of the weights that diffusers has no
    place for, where there are any."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Weights about to be written."""

    network: Mapping[str, Tensor]
    weights: Mapping[str, str]
    """Component -> `weights_hash` as written."""
    main: str
    """The component of `network`."""
    provenance: Provenance | None

    @property
    def network_hash(self) -> str:
        """Hash of the main component's weights as they were written."""
        return self.weights[self.main]

    def header(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """All words of a header: `more`, the edits, the hashes, and the checksum of the whole."""
        edits = (self.provenance or Provenance()).to_header()
        return sealed_header({**(more or {}), **edits}, self.weights)


def outgoing(
    checkpoint: Checkpoint,
    path: Path,
    network: Mapping[str, Tensor] | None,
    provenance: Provenance | None,
    dtype: torch.dtype | None,
) -> Outgoing:
    """The main component to write and its provenance, with hashes of all values as written.

    Without a new one the checkpoint's own goes out, with the provenance it came with.

    Raises:
        CheckpointError: the new one has other names or shapes than the checkpoint's, or a weight is
            not finite in the type it is to be stored in.
    """
    main, title = checkpoint.architecture.main, checkpoint.architecture.main_part.title
    if network is None:
        network, provenance = checkpoint.network, provenance or checkpoint.provenance
    require_names(network, checkpoint.network, f"the new {title}")
    require_no_more(network, checkpoint.network, f"the new {title}")
    require_shapes(network, checkpoint.network, f"the new {title}")
    components = {**checkpoint.components, main: network}
    require_storable({**components, EXTRAS: checkpoint.extras}, str(path), dtype)
    weights = weights_of(components, checkpoint.extras, dtype)
    return Outgoing(network, weights, main, _completed(provenance, weights))


def _completed(provenance: Provenance | None, weights: Mapping[str, str]) -> Provenance | None:
    """With the hash of what the last edit made, where it is written for the first time. A record
    that the base is restored stays only with the base's very values."""
    if provenance is None:
        return None
    edits = provenance.edits
    if edits and not edits[-1].result_hash:
        result = weights.get(edits[-1].component, "")
        edits = (*edits[:-1], replace(edits[-1], result_hash=result))
    restored = provenance.restored
    if restored is not None and not restored.bases.items() <= weights.items():
        restored = None
    return Provenance(edits=edits, restored=restored) if edits or restored else None
