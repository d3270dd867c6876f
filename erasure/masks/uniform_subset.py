"""Draw exactly k of N positions uniformly, with no permutation of N and no N random numbers kept.

Each position is first taken by an independent coin of probability k / N. Given how many coins
fell, every subset of that size is equally likely; so dropping (or adding) the surplus at uniform
leaves every subset of size k equally likely.
"""

import random
from collections.abc import Mapping

import torch
from torch import Tensor

from erasure.masks.selection import CHUNK


def uniform_subset(
    like: Mapping[str, Tensor], count: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Bool tensors of the shapes and on the devices of `like`, with `count` True in all.

    Takes about 50 MB beside the result at any size. Draws run on the generator's device.
    """
    total = sum(value.numel() for value in like.values())
    chosen = {name: _coins(value, count / max(total, 1), generator) for name, value in like.items()}
    surplus = sum(int(torch.count_nonzero(entry)) for entry in chosen.values()) - count
    flip_from = surplus > 0  # Surplus Trues become False, or missing Trues are found among False.
    candidates = count + surplus if flip_from else total - count - surplus
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    ranks = sorted(random.Random(seed).sample(range(candidates), abs(surplus)))
    _flip(chosen, torch.tensor(ranks, dtype=torch.int64), flip_from)
    return chosen


def _coins(like: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    coins = torch.empty(like.shape, dtype=torch.bool, device=like.device)
    flat = coins.view(-1)
    for start in range(0, len(flat), CHUNK):
        part = flat[start : start + CHUNK]
        draws = torch.rand(len(part), generator=generator, device=generator.device)
        part.copy_(draws < probability)
    return coins


def _flip(chosen: Mapping[str, Tensor], ranks: Tensor, state: bool) -> None:
    """Flip the entries that are the `ranks`-th (sorted, from 0) of those equal to `state`."""
    seen = done = 0
    for entry in chosen.values():
        flat = entry.view(-1)
        for start in range(0, len(flat), CHUNK):
            if done == len(ranks):
                return
            part = flat[start : start + CHUNK]
            places = (part == state).nonzero()[:, 0]
            until = int(torch.searchsorted(ranks, seen + len(places)))
            part[places[(ranks[done:until] - seen).to(places.device)]] = not state
            seen, done = seen + len(places), until
