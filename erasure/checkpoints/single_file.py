"""Write the original single-file layout that ComfyUI, A1111 and others read."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from erasure.checkpoints import embedded
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.markers import markers
from erasure.checkpoints.modelspec import ModelSpec
from erasure.checkpoints.provenance import Provenance, utc_now
from erasure.checkpoints.tensor_file import write_tensors
from erasure.checkpoints.writing import Written, outgoing
from erasure.disk import refuse_existing
from erasure.errors import CheckpointError


def write_single_file(
    checkpoint: Checkpoint,
    path: Path,
    *,
    unet: Mapping[str, Tensor] | None = None,
    provenance: Provenance | None = None,
    dtype: torch.dtype | None = None,
    spec: ModelSpec | None = None,
    force: bool = False,
) -> Written:
    """Write UNet, VAE and text encoders under their original names.

    Needs no tokenizer. Holds no EMA copy and no buffers; beyond the input it needs memory for one
    fused attention matrix per text layer (SD 2.x, SD XL) and for one tensor in a new type.

    Args:
        checkpoint: where all but the UNet comes from.
        path: ends in `.safetensors`.
        unet: the edited UNet, diffusers names; None writes the checkpoint's own.
        provenance: what was done to it; its `result_hash` is filled in.
        dtype: type of the floating point weights; None keeps each tensor's own.
        spec: title, author and so on for the header.
        force: replace what is there.

    Raises:
        CheckpointError: wrong ending, path in the way, another UNet, disk full or read-only.
    """
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path} must end in .safetensors, so that other tools read it")
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; give the path of a file")
    refuse_existing(path, force=force)
    out = outgoing(checkpoint, unet, provenance, dtype)
    spec = spec or ModelSpec()
    date = spec.date or (out.provenance.created if out.provenance else utc_now())
    metadata = {
        **replace(spec, date=date).to_header(checkpoint),
        **embedded.to_header(checkpoint.description),
        **out.header(),
    }
    tensors = checkpoint.family.to_original({**checkpoint.components, "unet": out.unet})
    marked = markers(checkpoint.family, checkpoint.description.scheduler)
    write_tensors(path, {**tensors, **checkpoint.extras, **marked}, metadata, dtype=dtype)
    return Written(path, out.unet_hash, out.provenance)
