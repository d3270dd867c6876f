"""Random class-conditional models of a few thousand weights, written by diffusers itself."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DiTPipeline,
    DiTTransformer2DModel,
    UNet2DModel,
)

from support.models.tiny_models import TWO_LEVELS, randomise
from support.models.written import written_once
from support.tiny import global_seed

CLASSES = ("T-shirt", "shirt", "ankle boot", "sneaker")
SIDE = 16
DDPM_CONFIG: dict[str, Any] = {
    "sample_size": SIDE,
    "in_channels": 1,
    "out_channels": 1,
    "layers_per_block": 1,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
    "attention_head_dim": 8,
    "num_class_embeds": len(CLASSES) + 1,
}

DIT_CONFIG: dict[str, Any] = {
    "sample_size": 8,
    "num_layers": 2,
    "patch_size": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "in_channels": 4,
    "out_channels": 8,
    "num_embeds_ada_norm": 1000,  # the pipeline tells no class by the label 1000, whatever there is
}


@written_once
def write_ddpm(folder: Path, *, names: bool = True, **config: Any) -> Path:  # noqa: ANN401
    """A random pipeline whose network listens to its label; `config` goes over the usual one."""
    with global_seed(0):
        unet = UNet2DModel(**{**DDPM_CONFIG, **config})
        randomise(unet, 0)
    if unet.class_embedding is not None:
        with torch.no_grad():
            unet.class_embedding.weight.mul_(3)
    scheduler = DDIMScheduler(beta_schedule="linear", timestep_spacing="trailing")
    DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(folder)
    if names:
        write_index(folder, id2label={str(n): name for n, name in enumerate(CLASSES)})
    return folder


def write_index(folder: Path, **entries: Any) -> None:  # noqa: ANN401
    """Put entries into the index of a pipeline."""
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}), encoding="utf-8")


@written_once
def write_dit(folder: Path, **config: Any) -> Path:  # noqa: ANN401
    """A random pipeline whose blocks have equal copies of what embeds time and class."""
    network = DiTTransformer2DModel(**{**DIT_CONFIG, **config})
    randomise(network, 0)
    blocks: Any = network.transformer_blocks
    with torch.no_grad():
        blocks[0].norm1.emb.class_embedder.embedding_table.weight.mul_(20)
    for block in blocks[1:]:
        block.norm1.emb.load_state_dict(blocks[0].norm1.emb.state_dict())
    vae = AutoencoderKL(**TWO_LEVELS)
    randomise(vae, 1)
    scheduler = DDIMScheduler(beta_start=1e-4, beta_end=0.02, clip_sample=False)
    DiTPipeline(transformer=network, vae=vae, scheduler=scheduler).save_pretrained(folder)
    return folder
