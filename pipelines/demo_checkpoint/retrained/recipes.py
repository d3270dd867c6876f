"""How the embedded text models are trained: what a retraining does again, but for its seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import nn
from transformers import CLIPTokenizer

from pipelines.demo_checkpoint import latents, train_unet
from pipelines.demo_checkpoint.assemble import assemble
from pipelines.demo_checkpoint.fit import FitConfig
from pipelines.demo_checkpoint.flow import training as flow
from pipelines.demo_checkpoint.flow.assemble import assemble_flow
from pipelines.demo_checkpoint.flow.networks import LENGTH, WIDTHS, ZEROS, FlowNetworks
from pipelines.demo_checkpoint.latents import Latents
from pipelines.demo_checkpoint.train_unet import (
    Choice,
    PromptTable,
    TextToLatent,
    denoising_loss,
    descend,
)
from pipelines.demo_checkpoint.train_vae import read_vae
from pipelines.early import DEMO, DEMO_FLOW
from pipelines.run.models import DEMO_FOLDER, FLOW_FOLDER

Descent = tuple[FitConfig, Path]
"""Steps, rate and seed, and the file of its state."""


@dataclass(frozen=True, slots=True)
class Material:
    """What all models of one set are trained from."""

    latents: Latents
    base: Path
    """Diffusers folder that gives the VAE and the tokenizer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One embedded model's way from random weights to a diffusers folder."""

    checkpoint: Path
    """The model that was made so; its retrainings are held against it."""
    networks: str
    """What is trained, in words."""
    sampler: str
    descents: tuple[FitConfig, ...]
    settings: Mapping[str, Any]
    """What else decides the weights, plain values."""
    train: Callable[[Material, Choice, Sequence[Descent], torch.device], nn.Module]
    """Trains from the states, or from the start; the first seed is that of the weights too."""
    write: Callable[[Any, Material, Path], None]
    """Writes the trained networks as a diffusers folder."""

    def seeded(self, offset: int) -> list[FitConfig]:
        """The descents with an offset added to every seed."""
        return [replace(each, seed=each.seed + offset) for each in self.descents]


def _train_unet(
    material: Material, choose: Choice, descents: Sequence[Descent], device: torch.device
) -> nn.Module:
    tokenizer = _tokenizer(material)
    model = TextToLatent(tokenizer, descents[0][0].seed).to(device)
    descend(
        model,
        denoising_loss(model, material.latents, PromptTable(tokenizer), choose),
        *descents,
    )
    return model.eval().cpu()


def _write_unet(model: TextToLatent, material: Material, folder: Path) -> None:
    factor, tokenizer = material.latents.factor, _tokenizer(material)
    assemble(model, read_vae(material.base), factor, tokenizer, folder)


def _tokenizer(material: Material) -> CLIPTokenizer:
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(material.base / "tokenizer")
    return tokenizer


def _train_flow(
    material: Material, choose: Choice, descents: Sequence[Descent], device: torch.device
) -> nn.Module:
    ((config, state),) = descents
    tokenizer = flow.tokenizer_of(material.base)
    return flow.train_flow(tokenizer, material.latents, state, config, choose, device).cpu()


def _write_flow(model: FlowNetworks, material: Material, folder: Path) -> None:
    assemble_flow(model, material.base, folder)


_SHARED: Final = {
    "batch": train_unet.BATCH,
    "pictures_per_pair": latents.PICTURES_PER_PAIR,
    "pictures_seed": latents.SEED,
    "no_style": train_unet.NO_STYLE,
    "no_prompt": train_unet.NO_PROMPT,
}
RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType(
    {
        DEMO: Recipe(
            checkpoint=DEMO_FOLDER,
            networks="UNet and text encoder",
            sampler="DDIM",
            descents=(train_unet.UNET_CONFIG, train_unet.SECOND),
            settings={
                **_SHARED,
                "snr_cap": train_unet.SNR_CAP,
                "text_width": train_unet.WIDTH,
            },
            train=_train_unet,
            write=_write_unet,
        ),
        DEMO_FLOW: Recipe(
            checkpoint=FLOW_FOLDER,
            networks="transformer and two text encoders",
            sampler="Euler",
            descents=(flow.CONFIG,),
            settings={**_SHARED, "zeros": ZEROS, "length": LENGTH, "text_widths": list(WIDTHS)},
            train=_train_flow,
            write=_write_flow,
        ),
    }
)
"""Name of an embedded model -> how it was trained."""
