"""Write the original single-file layout that ComfyUI, A1111 and others read."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.edit_record import utc_now
from erasure.checkpoints.provenance import Provenance
from erasure.checkpoints.reading import embedded
from erasure.checkpoints.writing.modelspec import ModelSpec, default_title
from erasure.checkpoints.writing.writing import Written, outgoing
from erasure.errors import CheckpointError, Way
from erasure.storage.disk import refuse_taken_file
from erasure.storage.tensors.tensor_file import write_tensors


def write_single_file(
    checkpoint: Checkpoint,
    path: Path,
    *,
    network: Mapping[str, Tensor] | None = None,
    provenance: Provenance | None = None,
    dtype: torch.dtype | None = None,
    spec: ModelSpec | None = None,
    force: bool = False,
) -> Written:
    """Write all components under their original names; of a family whose published files hold some
    of them alone, those, or those that the file held which was read.

    Needs no tokenizer. Holds no EMA copy and no buffers; beyond the input it needs memory for one
    fused attention matrix per text layer (SD 2.x, SD XL) and for one tensor in a new type.

    Args:
        checkpoint: where all but the main component comes from.
        path: ends in `.safetensors`.
        network: the edited main component, diffusers names; None writes the checkpoint's own.
        provenance: what was done to it; the last edit's `result_hash` is filled in.
        dtype: type of the floating point weights; None keeps each tensor's own.
        spec: title, author and so on for the header; by default the title names the base and what
            was erased from it.
        force: replace what is there.

    Raises:
        CheckpointError: wrong ending, path in the way, another network, a weight that is not finite
            in its type, disk full or read-only.

    Examples:
        >>> written = write_single_file(checkpoint, Path("copy.safetensors"))
        >>> read_checkpoint(written.path).network_hash() == checkpoint.network_hash()
        True
    """
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path} must end in .safetensors, so that other tools read it")
    refuse_taken_file(path, force=force)
    family = checkpoint.architecture
    if not family.modelspec:
        raise CheckpointError(
            f"{family.title} has no layout of a single file that other tools read; write a patch, "
            "or a folder with ",
            Way("--to diffusers", "write_folder"),
        )
    if family.file_parts:  # what such a file was read from had no more
        checkpoint = checkpoint.only(checkpoint.in_file or family.file_parts)
    out = outgoing(checkpoint, path, network, provenance, dtype)
    spec = spec or ModelSpec()
    edits = out.provenance.edits if out.provenance else ()
    date = spec.date or (edits[-1].created if edits else "") or utc_now()
    title = spec.title or default_title(checkpoint, out.provenance)
    metadata = {
        **replace(spec, date=date, title=title).to_header(checkpoint),
        **embedded.to_header(checkpoint.description),
    }
    tensors = family.to_original({**checkpoint.components, family.main: out.network})
    if family.file_parts and set(checkpoint.components) == {family.main} and not checkpoint.extras:
        tensors = family.part_of(tensors, family.main)
    marked = family.files.marks(checkpoint.description.scheduler)
    tensors = {**checkpoint.extras, **tensors, **marked}  # nothing stands in a weight's place
    write_tensors(path, tensors, out.header(metadata), dtype=dtype)
    return Written(path, out.network_hash, out.provenance, out.weights)
