"""Pictures to latents: as many a pass as the memory holds, kept under a hash of what made them."""

import hashlib
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from erasure.architectures.building import build_codec
from erasure.architectures.encoders import Codec
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import OutOfMemoryError
from erasure.memory import memory_errors
from erasure.storage.cache import TensorCache, content_key
from erasure.storage.tensors.hashing import weights_hash

_PIXELS: Final = 2**20
"""Most pixels encoded in one pass, which has activations of 512 bytes a pixel and layer."""
_PICTURES: Final = 8
"""Most pictures encoded in one pass."""


def encode_pictures(
    checkpoint: Checkpoint,
    sets: Sequence[Tensor],
    device: torch.device,
    cache: TensorCache | None,
) -> list[tuple[Tensor, Tensor]]:
    """Scaled mean and deviation, (N, C, h, w), of each set of bytes, (N, 3, H, W).

    Raises:
        OutOfMemoryError: not even one picture a pass fits.
    """
    # The config too: the same weights with another scaling factor give other latents.
    model: list[object] = ["pixels"]
    if "vae" in checkpoint.components:
        weights = checkpoint.components["vae"]
        model = [weights_hash(weights), dict(checkpoint.description.components["vae"])]
    else:  # the channels of the pictures are those of the network
        main = checkpoint.architecture.main
        model.append(dict(checkpoint.description.components[main]))

    def encode(pixels: Tensor) -> dict[str, Tensor]:
        mean, std = _in_passes(build_codec(checkpoint, device=device), pixels)
        return {"mean": mean, "std": std}

    results = []
    for pixels in sets:
        digest = hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest()
        key = content_key(model=model, pixels=digest, shape=list(pixels.shape))

        def make(chosen: Tensor = pixels) -> dict[str, Tensor]:
            return encode(chosen)

        moments = cache.get("latents", key, make) if cache else make()
        results.append((moments["mean"], moments["std"]))
    return results


def pictures_a_pass(height: int, width: int) -> int:
    """How many pictures of that many pixels are encoded at a time, where memory is not short."""
    return max(1, min(_PICTURES, _PIXELS // (height * width)))


def _in_passes(codec: Codec, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled mean and deviation, (N, C, h, w), of bytes; fewer at a time where memory is short."""
    size = pictures_a_pass(pixels.shape[2], pixels.shape[3])
    means, stds, start = [], [], 0
    while start < len(pixels):
        try:
            with memory_errors("with one picture a pass"):
                mean, std = codec.encode(pixels[start : start + size].float() / 127.5 - 1)
        except OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            continue
        means.append(mean)
        stds.append(std)
        start += size
    return torch.cat(means), torch.cat(stds)
