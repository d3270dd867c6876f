"""Train `demo-flow`, a small flow transformer that draws the canvas: `make flow-checkpoint`.

Every stage keeps its state in the work folder, so a run that was cut goes on where it was.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import torch

from pipelines.demo_checkpoint.flow.assemble import assemble_flow
from pipelines.demo_checkpoint.flow.checking import check_flow
from pipelines.demo_checkpoint.flow.training import tokenizer_of, train_flow
from pipelines.demo_checkpoint.latents import load_latents
from pipelines.demo_checkpoint.retrained.recipes import RECIPES
from pipelines.demo_checkpoint.retrained.training import load_pictures, write_own_record
from pipelines.demo_checkpoint.train_vae import read_vae
from pipelines.early import DEMO_FLOW
from pipelines.run.models import DEMO_FOLDER, FLOW_FOLDER


def main() -> int:
    """Fetch, rasterise, encode, train, write, check; 1 where it draws too badly."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo_checkpoint.flow")
    parser.add_argument("--work", type=Path, default=Path("build/flow-checkpoint"))
    parser.add_argument("--base", type=Path, default=DEMO_FOLDER, help="gives VAE and tokenizer")
    parser.add_argument("--out", type=Path, default=FLOW_FOLDER, help="diffusers folder to write")
    parser.add_argument("--sheet", type=Path, default=Path("docs/contact_sheet_flow.png"))
    parser.add_argument("--check-only", action="store_true", help="measure what is there")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    if not options.check_only:
        vae: Any = read_vae(options.base)
        pictures = load_pictures(options.work)
        latents = load_latents(
            vae,
            pictures,
            options.work / "latents.safetensors",
            float(vae.config.scaling_factor),
        )
        state = options.work / "flow.safetensors"
        model = train_flow(tokenizer_of(options.base), latents, state)
        assemble_flow(model, options.base, options.out)
        write_own_record(RECIPES[DEMO_FLOW], pictures, options.base, options.out)
    return 0 if check_flow(options.out, options.sheet) else 1


if __name__ == "__main__":
    sys.exit(main())
