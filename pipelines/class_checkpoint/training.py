"""Train one of the models from a state that survives a cut, and write it as a diffusers folder."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.storage.claims import claimed
from pipelines.class_checkpoint.assemble import assemble
from pipelines.class_checkpoint.pictures import ClassPictures
from pipelines.class_checkpoint.recipe import (
    BATCH,
    DROPPED,
    SNR_CAP,
    noise_schedule,
)
from pipelines.class_checkpoint.variants import Variant
from pipelines.class_checkpoint.worlds import World
from pipelines.demo_checkpoint.fit import Loss, fit
from pipelines.demo_checkpoint.retrained.record import (
    FORMAT,
    RECORD,
    claim_states,
    hash_of_recipe,
    write_record,
)
from pipelines.demo_checkpoint.train_unet import Choice

log = logging.getLogger(__name__)


def is_done(variant: Variant, work: Path) -> bool:
    """Whether the model is trained and written."""
    return (work / variant.name / "model" / RECORD).exists()


def train(world: World, variant: Variant, pictures: ClassPictures, work: Path) -> Path:
    """Train from the last state, or from the start, and write the folder `model`; returns it.

    Raises:
        CheckpointError: another process trains this model, or the state is of another recipe.
        DiskError: the disk refuses; the last state stays.
    """
    folder = work / variant.name
    record = record_of(world, variant, pictures)
    with claimed(folder):
        claim_states(folder, record)
        seeded = replace(world.fit, seed=world.fit.seed + variant.seed_offset)
        network = world.build_network(seeded.seed)
        network.to(memory_format=torch.channels_last)
        choose = variant.choice(pictures.labels)
        loss = denoising_loss(network, pictures, choose, world.nothing)
        average = fit(network, loss, seeded, folder / "state.safetensors")
        written = assemble(average, folder / "model", world)
        write_record(written, record)
    log.info("wrote %s", written)
    return written


def denoising_loss(
    network: Any,  # noqa: ANN401
    pictures: ClassPictures,
    choose: Choice,
    nothing: int,
) -> Loss:
    """The weighted error of the predicted noise, on a batch drawn from a CPU generator.

    Args:
        network: takes samples (B, C, 32, 32), times (B,) and labels (B,).
        choose: draws the pictures of a batch.
        nothing: the label of no class.
    """
    scheduler: Any = noise_schedule()
    alphas = scheduler.alphas_cumprod
    weight = (SNR_CAP * (1 - alphas) / alphas).clamp(max=1.0)

    def loss(generator: torch.Generator) -> Tensor:
        chosen = choose(generator)
        clean = pictures.pixels[chosen].float() / 127.5 - 1
        noise = torch.randn(clean.shape, generator=generator)
        t = torch.randint(len(alphas), (len(chosen),), generator=generator)
        dropped = torch.rand(len(chosen), generator=generator) < DROPPED
        labels = torch.where(dropped, nothing, pictures.labels[chosen])
        noisy = scheduler.add_noise(clean, noise, t).to(memory_format=torch.channels_last)
        predicted = network(noisy, t, labels).sample
        error = F.mse_loss(predicted, noise, reduction="none").mean(dim=(1, 2, 3))
        weighted: Tensor = (weight[t] * error).mean()
        return weighted

    return loss


def recipe_values(world: World, pictures: ClassPictures) -> dict[str, Any]:
    """Everything but the seeds and the class that decides the weights; plain values."""
    descent = asdict(world.fit)
    del descent["seed"], descent["save_every"]
    network = world.build_network(0)
    plain = {k: v for k, v in network.config.items() if not k.startswith("_")}
    return {
        "descents": [descent],
        "batch": BATCH,
        "dropped": DROPPED,
        "snr_cap": SNR_CAP,
        "network": {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()},
        "sources": {"pictures": pictures.fingerprint},
    }


def record_of(world: World, variant: Variant, pictures: ClassPictures) -> dict[str, Any]:
    """The record as it is written beside the states and into the folder of the model."""
    recipe: Mapping[str, Any] = recipe_values(world, pictures)
    return {
        "format": FORMAT,
        "name": variant.name,
        "without": {"objects": [world.classes[n] for n in variant.without], "styles": []},
        "seeds": [world.fit.seed + variant.seed_offset],
        "recipe": recipe,
        "recipe_hash": hash_of_recipe(recipe),
    }
