"""Train one of the models from states that survive a cut, and write it as a diffusers folder."""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTokenizer

from erasure.storage.claims import claimed
from erasure.storage.tensor_file import write_tensors
from pipelines.demo_checkpoint.assemble import assemble
from pipelines.demo_checkpoint.drawings import prepare
from pipelines.demo_checkpoint.fit import FitConfig
from pipelines.demo_checkpoint.icons import load_drawings
from pipelines.demo_checkpoint.latents import Latents, load_latents
from pipelines.demo_checkpoint.retrained.concepts import Retraining, kept_pairs
from pipelines.demo_checkpoint.retrained.record import (
    RECORD,
    Sources,
    claim_states,
    recipe_values,
    record_of,
    write_record,
)
from pipelines.demo_checkpoint.train_unet import (
    SECOND,
    UNET_CONFIG,
    PromptTable,
    TextToLatent,
    denoising_loss,
    descend,
)
from pipelines.demo_checkpoint.train_vae import read_vae

log = logging.getLogger(__name__)
SAVE_EVERY: Final = 100
"""Steps between two states on disk; it changes no weight."""


@dataclass(frozen=True, slots=True)
class Material:
    """What all models of one set are trained from."""

    latents: Latents
    base: Path
    """Diffusers folder that gives the VAE and the tokenizer."""
    recipe: dict[str, Any]


def load_pictures(work: Path) -> Tensor:
    """The prepared drawings, (styles, objects, 4, S, S), fetched where the work folder has none."""
    path = work / "drawings.safetensors"
    if not path.exists():
        drawn = prepare(load_drawings(work / "packages"))
        write_tensors(path, {"drawings": drawn}, {"format": "demo-checkpoint-drawings 1"})
    return load_file(path)["drawings"]


def load_material(work: Path, base: Path) -> Material:
    """Read, or make and keep, what is shared; one process at a time.

    Raises:
        CheckpointError: another process is making it.
    """
    with claimed(work / "latents.safetensors"):
        pictures = load_pictures(work)
        vae: Any = read_vae(base)
        scale = float(vae.config.scaling_factor)
        latents = load_latents(vae, pictures, work / "latents.safetensors", scale)
    sources = Sources(
        drawings=hashlib.sha256(pictures.numpy().tobytes()).hexdigest(),
        vae=_hash_of(base / "vae" / "diffusion_pytorch_model.safetensors"),
        tokenizer=_hash_of(base / "tokenizer" / "tokenizer.json"),
    )
    return Material(latents, base, recipe_values(sources))


def is_done(retraining: Retraining, work: Path) -> bool:
    """Whether the model is trained and written."""
    return (work / retraining.name / "model" / RECORD).exists()


def retrain(
    retraining: Retraining,
    material: Material,
    work: Path,
    device: torch.device,
    descents: Sequence[FitConfig] = (UNET_CONFIG, SECOND),
) -> Path:
    """Train from the last state, or from the start, and write the folder `model`; returns it.

    Args:
        descents: steps and rates; their seeds are those of the recipe, without the offset.

    Raises:
        CheckpointError: another process trains this model, or the states are of another recipe.
        DiskError: the disk refuses; the last state stays.
    """
    folder = work / retraining.name
    record = record_of(retraining, material.recipe)
    with claimed(folder):
        claim_states(folder, record)
        tokenizer = CLIPTokenizer.from_pretrained(material.base / "tokenizer")
        model = TextToLatent(tokenizer, UNET_CONFIG.seed + retraining.seed_offset).to(device)
        choose = kept_pairs(retraining.kept_pairs)
        loss = denoising_loss(model, material.latents, PromptTable(tokenizer), choose)
        seeded = [
            replace(each, seed=each.seed + retraining.seed_offset, save_every=SAVE_EVERY)
            for each in descents
        ]
        states = [folder / f"descent-{number}.safetensors" for number, _ in enumerate(seeded, 1)]
        descend(model, loss, *zip(seeded, states, strict=True))
        written = folder / "model"
        shutil.rmtree(written, ignore_errors=True)  # what a run that was cut has half written
        vae = read_vae(material.base)
        assemble(model.eval().cpu(), vae, material.latents.factor, tokenizer, written)
        write_record(written, record)
    log.info("wrote %s", written)
    return written


def _hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
