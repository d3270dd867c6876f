"""Latents of the canvas: the augmentations of every pair, encoded once for the UNet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor

from erasure.storage.tensors.tensor_file import write_tensors
from pipelines.demo_checkpoint.drawings import draw

PICTURES_PER_PAIR: Final = 160
"""Augmentations encoded once, before training."""
SEED: Final = 2
"""Seed of the augmentations."""
_SAVE_EVERY: Final = 24
"""Pairs between two states on disk."""


@dataclass(frozen=True, slots=True)
class Latents:
    """Posterior of every encoded picture, scaled to unit deviation."""

    mean: Tensor
    """(pairs, n, 16, 8, 8)"""
    std: Tensor
    factor: float
    """What latents are multiplied by; `scaling_factor` of the autoencoder."""


@torch.no_grad()
def encode_pictures(
    vae: Any,  # noqa: ANN401
    pictures: Tensor,
    seed: int,
    factor: float | None = None,
    state: Path | None = None,
) -> Latents:
    """Encode `PICTURES_PER_PAIR` augmentations of every pair.

    Args:
        factor: what latents are multiplied by; None measures what gives unit deviation.
        state: a file to go on from, kept up to date; a run that was cut ends with the same bytes.
    """
    pairs = pictures.shape[0] * pictures.shape[1]
    generator = torch.Generator().manual_seed(seed)
    means: list[Tensor] = []
    stds: list[Tensor] = []
    if state is not None and state.exists():
        stored = load_file(state)
        means, stds = list(stored["mean"]), list(stored["std"])
        generator.set_state(stored["generator"])
    for pair in range(len(means), pairs):
        chosen = torch.full((PICTURES_PER_PAIR,), pair)
        posterior = vae.encode(draw(pictures, chosen, generator).pixels).latent_dist
        means.append(posterior.mean)
        stds.append(posterior.std)
        if state is not None and (pair + 1) % _SAVE_EVERY == 0:
            parts = {"mean": torch.stack(means), "std": torch.stack(stds)}
            parts["generator"] = generator.get_state()
            write_tensors(state, parts, {"format": "demo-checkpoint-latents-state 1"})
    mean, std = torch.stack(means), torch.stack(stds)
    if factor is None:
        factor = float(1 / (mean.var() + std.square().mean()).sqrt())
    return Latents(mean * factor, std * factor, factor)


def load_latents(
    vae: Any,  # noqa: ANN401
    pictures: Tensor,
    path: Path,
    factor: float | None = None,
) -> Latents:
    """Encode the pictures, or read what a run that was cut has encoded."""
    if not path.exists():
        state = path.with_name(f"{path.stem}-state.safetensors")
        made = encode_pictures(vae, pictures, SEED, factor, state)
        tensors = {"mean": made.mean, "std": made.std, "factor": torch.tensor(made.factor)}
        write_tensors(path, tensors, {"format": "demo-checkpoint-latents 1"})
        state.unlink(missing_ok=True)
    stored = load_file(path)
    return Latents(stored["mean"], stored["std"], float(stored["factor"]))
