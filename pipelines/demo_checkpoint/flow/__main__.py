"""Train `demo-flow`, a small flow transformer that draws the canvas: `make flow-checkpoint`.

Every stage keeps its state in the work folder, so a run that was cut goes on where it was.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTokenizer

from pipelines.demo_checkpoint.flow.networks import LENGTH
from pipelines.demo_checkpoint.flow.training import train_flow
from pipelines.demo_checkpoint.latents import load_latents
from pipelines.demo_checkpoint.retrained.training import load_pictures
from pipelines.demo_checkpoint.train_vae import read_vae
from pipelines.run.models import DEMO_FOLDER


def main() -> None:
    """Fetch, rasterise, encode, train."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo_checkpoint.flow")
    parser.add_argument("--work", type=Path, default=Path("build/flow-checkpoint"))
    parser.add_argument("--base", type=Path, default=DEMO_FOLDER, help="gives VAE and tokenizer")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    vae: Any = read_vae(options.base)
    latents = load_latents(
        vae,
        load_pictures(options.work),
        options.work / "latents.safetensors",
        float(vae.config.scaling_factor),
    )
    tokenizer = CLIPTokenizer.from_pretrained(options.base / "tokenizer", model_max_length=LENGTH)
    train_flow(tokenizer, latents, options.work / "flow.safetensors")


if __name__ == "__main__":
    main()
