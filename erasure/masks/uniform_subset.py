"""Draw exactly k of N positions uniformly, with no permutation of N and no N random numbers kept.

Each position is first taken by an independent coin of probability k / N. Given how many coins
fell, every subset of that size is equally likely; so dropping (or adding) the surplus at uniform
leaves every subset of size k equally likely.
"""

import random
from collections.abc import Mapping

import torch
from torch import Tensor

from erasure.masks.packed import PackedBits, ones, pack, unpack
from erasure.masks.selection import CHUNK


def uniform_subset(
    like: Mapping[str, Tensor], count: int, generator: torch.Generator
) -> PackedBits:
    """Bool tensors of the shapes of `like`, with `count` True in all, kept as a bit a weight.

    Takes about 50 MB and a byte a weight of the largest tensor beside the result. Draws run on the
    generator's device.
    """
    total = sum(value.numel() for value in like.values())
    probability = count / max(total, 1)
    shapes = {name: value.shape for name, value in like.items()}
    chosen = {name: pack(_coins(shape, probability, generator)) for name, shape in shapes.items()}
    surplus = sum(ones(bits) for bits in chosen.values()) - count
    flip_from = surplus > 0  # Surplus Trues become False, or missing Trues are found among False.
    candidates = count + surplus if flip_from else total - count - surplus
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    ranks = sorted(random.Random(seed).sample(range(candidates), abs(surplus)))
    _flip(chosen, shapes, torch.tensor(ranks, dtype=torch.int64), flip_from)
    return PackedBits(chosen, shapes)


def _coins(shape: torch.Size, probability: float, generator: torch.Generator) -> Tensor:
    coins = torch.empty(shape.numel(), dtype=torch.bool)
    for start in range(0, len(coins), CHUNK):
        part = coins[start : start + CHUNK]
        draws = torch.rand(len(part), generator=generator, device=generator.device)
        part.copy_(draws < probability)
    return coins


def _flip(
    chosen: dict[str, Tensor], shapes: Mapping[str, torch.Size], ranks: Tensor, state: bool
) -> None:
    """Flip the entries that are the `ranks`-th (sorted, from 0) of those equal to `state`."""
    seen = done = 0
    for name, bits in chosen.items():
        if done == len(ranks):
            return
        flat = unpack(bits, [shapes[name].numel()])
        for start in range(0, len(flat), CHUNK):
            part = flat[start : start + CHUNK]
            places = (part == state).nonzero()[:, 0]
            until = int(torch.searchsorted(ranks, seen + len(places)))
            part[places[ranks[done:until] - seen]] = not state
            seen, done = seen + len(places), until
        chosen[name] = pack(flat)
