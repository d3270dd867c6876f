"""One hash for a set of named weights, whatever file or number type they are stored in."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes and float32 values, in the order of the sorted names.

    fp16 and bf16 widen to float32 without loss, so a checkpoint and its copy in a wider type, in
    another layout of files or on another device, have the same hash. Any changed bit of a value
    changes it. Names are those of the diffusers model.

    Returns:
        64 hex digits.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach()
        digest.update(f"{name}{list(value.shape)}".encode())
        digest.update(value.to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def bytes_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and bytes, in the order of the sorted names.

    Unlike `weights_hash` it tells number types apart and sees every bit of float64 and int64.

    Returns:
        64 hex digits.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{value.dtype}{list(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
