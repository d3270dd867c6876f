"""Fingerprints by which a result says which weights judged it."""

import hashlib
from pathlib import Path

import torch
from torch import nn

from eval.errors import EvalError

_CHUNK = 1 << 20


def file_sha256(path: Path) -> str:
    """64 hex digits of the bytes of a file.

    Raises:
        EvalError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as err:
        raise EvalError(f"{path} cannot be read ({err.strerror}); check the path") from err
    return digest.hexdigest()


def weights_sha256(network: nn.Module) -> str:
    """64 hex digits of names, shapes and float32 values, in the order of the sorted names.

    The same for one model whatever files it is stored in; fp16 and bf16 widen without loss.
    """
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name}{list(value.shape)}".encode())
        wide = value.detach().to("cpu", torch.float32).contiguous()
        digest.update(wide.numpy().tobytes())
    return digest.hexdigest()
