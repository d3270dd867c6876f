"""Random thin factors for tiny models, and models of every family that has LoRA names."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.lora.layers import has_factors
from erasure.solving.factors import Factors
from support.models.tiny_models import SD1_LIKE, SD2_LIKE, write_pipeline
from support.models.tiny_sdxl import write_sdxl

FAMILIES = ("sd1", "sd2", "sdxl")


def family_model(family: str, folder: Path) -> Checkpoint:
    """A random model of a family, written to and read from a folder."""
    place = folder / family
    if family == "sdxl":
        write_sdxl(place, whole=True)
    else:
        size = SD1_LIKE if family == "sd1" else SD2_LIKE
        write_pipeline(place, replace(size, layers=2))
    return read_checkpoint(place)


def factored(weights: Mapping[str, Tensor]) -> list[str]:
    """The names of all weights that can have factors."""
    return [name for name, weight in weights.items() if has_factors(name, weight)]


def random_factors(weights: Mapping[str, Tensor], seed: int = 0) -> dict[str, Factors]:
    """Factors of ranks 1 to 3 for every layer that can have them."""
    draw = torch.Generator().manual_seed(seed)
    factors = {}
    for n, name in enumerate(factored(weights)):
        matrix = weights[name].flatten(1)
        rank = min(1 + n % 3, *matrix.shape)
        up = torch.randn(len(matrix), rank, generator=draw) / 10
        down = torch.randn(rank, matrix.shape[1], generator=draw) / 10
        factors[name] = Factors(up.double(), down.double())
    return factors


def with_factors(checkpoint: Checkpoint, factors: Mapping[str, Factors]) -> Checkpoint:
    """The model with factors added to its main component, rounded once."""
    network = dict(checkpoint.network)
    for name, one in factors.items():
        weight = network[name]
        network[name] = (weight.double() + one.change().view(weight.shape)).to(weight.dtype)
    main = checkpoint.architecture.main
    return replace(checkpoint, components={**checkpoint.components, main: network})
