"""Put the trained networks together as a diffusers folder in half precision."""

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusion3Pipeline

from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.checkpoints.writing.folder import write_folder
from pipelines.demo_checkpoint.flow.networks import FlowNetworks, flow_scheduler
from pipelines.demo_checkpoint.flow.training import tokenizer_of
from pipelines.demo_checkpoint.train_vae import read_vae
from pipelines.run.models import CANVAS_NAME


def assemble_flow(model: FlowNetworks, base: Path, folder: Path) -> None:
    """Write the pipeline, without T5, with the VAE of `base`."""
    vae: Any = read_vae(base)
    vae.register_to_config(shift_factor=0.0)
    tokenizer = tokenizer_of(base)
    networks: Any = model.eval().to(torch.float16)
    pipeline: Any = StableDiffusion3Pipeline(
        transformer=networks.transformer,
        scheduler=flow_scheduler(),
        vae=vae.to(torch.float16),
        text_encoder=networks.text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=networks.text_encoder_2,
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )
    pipeline.register_to_config(_name_or_path=CANVAS_NAME)
    pipeline.save_pretrained(folder)
    # Through our own writer, which names a type for the text encoders that loads everywhere.
    write_folder(read_checkpoint(folder), folder, force=True)
