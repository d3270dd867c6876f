"""Random streams that depend on what they are for, not on what was drawn before them."""

import hashlib

import torch
from torch import Tensor


def derived_seed(*key: int | str) -> int:
    """A 63-bit seed for a key such as `(run seed, "noise", step, sample)`.

    Streams of different keys are independent, so batches of any size, a resumed run and several
    processes draw the same numbers for the same sample.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator_for(*key: int | str) -> torch.Generator:
    """A fresh CPU generator for a key."""
    return torch.Generator().manual_seed(derived_seed(*key))


def initial_noise(seeds: list[int], shape: tuple[int, ...]) -> Tensor:
    """Unit normal noise, (len(seeds), *shape), float32 on CPU; row n depends on seed n alone."""
    return torch.stack(
        [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )
