"""Train one of the models from states that survive a cut, and write it as a diffusers folder."""

import hashlib
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor

from erasure.storage.claims import claimed
from erasure.storage.tensors.tensor_file import write_tensors
from pipelines.demo_checkpoint.drawings import prepare
from pipelines.demo_checkpoint.icons import load_drawings
from pipelines.demo_checkpoint.latents import load_latents
from pipelines.demo_checkpoint.retrained.concepts import EVERYTHING, Retraining, kept_pairs
from pipelines.demo_checkpoint.retrained.recipes import Material, Recipe
from pipelines.demo_checkpoint.retrained.record import (
    RECORD,
    Sources,
    claim_states,
    record_of,
    write_record,
)
from pipelines.demo_checkpoint.train_vae import read_vae

log = logging.getLogger(__name__)
SAVE_EVERY: Final = 100
"""Steps between two states on disk; it changes no weight."""


def load_pictures(work: Path) -> Tensor:
    """The prepared drawings, (styles, objects, 4, S, S), fetched where the work folder has none."""
    path = work / "drawings.safetensors"
    if not path.exists():
        drawn = prepare(load_drawings(work / "packages"))
        write_tensors(path, {"drawings": drawn}, {"format": "demo-checkpoint-drawings 1"})
    return load_file(path)["drawings"]


def load_material(work: Path, base: Path) -> tuple[Material, Sources]:
    """Read, or make and keep, what is shared, with its hashes; one process at a time.

    Raises:
        CheckpointError: another process is making it.
    """
    with claimed(work / "latents.safetensors"):
        pictures = load_pictures(work)
        vae: Any = read_vae(base)
        scale = float(vae.config.scaling_factor)
        latents = load_latents(vae, pictures, work / "latents.safetensors", scale)
    return Material(latents, base), sources_of(pictures, base)


def sources_of(pictures: Tensor, base: Path) -> Sources:
    """The hashes of the drawings, and of the VAE and the tokenizer of a diffusers folder."""
    return Sources(
        drawings=hashlib.sha256(pictures.numpy().tobytes()).hexdigest(),
        vae=_hash_of(base / "vae" / "diffusion_pytorch_model.safetensors"),
        tokenizer=_hash_of(base / "tokenizer" / "tokenizer.json"),
    )


def write_own_record(recipe: Recipe, pictures: Tensor, base: Path, folder: Path) -> None:
    """Write the record of an embedded model into its folder; retrained ones are held against it."""
    write_record(folder, record_of(EVERYTHING, recipe, sources_of(pictures, base)))


def is_done(retraining: Retraining, work: Path) -> bool:
    """Whether the model is trained and written."""
    return (work / retraining.name / "model" / RECORD).exists()


def retrain(
    retraining: Retraining,
    recipe: Recipe,
    material: Material,
    sources: Sources,
    work: Path,
    device: torch.device,
) -> Path:
    """Train from the last state, or from the start, and write the folder `model`; returns it.

    Raises:
        CheckpointError: another process trains this model, or the states are of another recipe.
        DiskError: the disk refuses; the last state stays.
    """
    folder = work / retraining.name
    record = record_of(retraining, recipe, sources)
    with claimed(folder):
        claim_states(folder, record)
        descents = [
            (replace(each, save_every=SAVE_EVERY), folder / f"descent-{number}.safetensors")
            for number, each in enumerate(recipe.seeded(retraining.seed_offset), 1)
        ]
        model = recipe.train(material, kept_pairs(retraining.kept_pairs), descents, device)
        written = folder / "model"
        shutil.rmtree(written, ignore_errors=True)  # what a run that was cut has half written
        recipe.write(model, material, written)
        write_record(written, record)
    log.info("wrote %s", written)
    return written


def _hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
