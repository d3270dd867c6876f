"""Random streams that depend on what they are for, not on what was drawn before them."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def seeded_torch(device: torch.device, *key: int | str) -> Iterator[None]:
    """Let torch's global streams, of the CPU and of `device`, start from a key in this block.

    For what takes no generator: dropout, the first weights of a layer, random transforms in a data
    set. The streams are afterwards what they were before.
    """
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(derived_seed(*key))
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(derived_seed(*key))
        yield
