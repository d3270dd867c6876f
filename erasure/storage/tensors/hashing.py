"""One hash for a set of named weights, whatever file or number type they are stored in."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes and values, in the order of the sorted names.

    Values count as float32. fp16 and bf16 widen to it without loss, so a checkpoint and its copy in
    a wider type, in another layout of files or on another device, have the same hash. A tensor with
    a value that float32 does not give back to the bit (of float64, of long integers, a NaN of fp16)
    adds its type and its stored bytes. So any changed bit of any type changes the hash. Names are
    those of the diffusers model.

    Returns:
        64 hex digits.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu()
        digest.update(f"{name}{list(value.shape)}".encode())
        value = torch.view_as_real(value.resolve_conj()) if value.is_complex() else value
        single = value.to(torch.float32).contiguous()
        digest.update(_stored(single))
        if not _gives_back(single, value):
            digest.update(str(value.dtype).encode())
            digest.update(_stored(value))
    return digest.hexdigest()


def rounded_hash(weights: Mapping[str, Tensor]) -> str:
    """What `weights_hash` was up to version 0.1: float32 of every value, and no more.

    Files of that time are held against it. It differs from `weights_hash` only where a value is
    none of float32's, and there it does not see the bits that rounding drops.

    Returns:
        64 hex digits.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach()
        digest.update(f"{name}{list(value.shape)}".encode())
        digest.update(_stored(value.to("cpu", torch.float32)))
    return digest.hexdigest()


def bytes_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and bytes, in the order of the sorted names.

    Unlike `weights_hash` it tells number types apart.

    Returns:
        64 hex digits.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{value.dtype}{list(value.shape)}".encode())
        digest.update(_stored(value))
    return digest.hexdigest()


def _stored(value: Tensor) -> bytes:
    """The bytes of a tensor on CPU, in the order of its elements."""
    return value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _gives_back(single: Tensor, value: Tensor) -> bool:
    """Whether the float32 values become the stored ones again, to the bit."""
    if value.dtype in (torch.float32, torch.bfloat16):  # a bfloat16 is the upper half
        return True
    if value.dtype == torch.float16:  # every number of it is one of float32; a NaN may lose bits
        return not bool(torch.isnan(single).any())
    return _stored(single.to(value.dtype)) == _stored(value)
