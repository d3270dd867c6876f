"""Train the embedded checkpoint and its classifier from icons: `make demo-checkpoint`.

Every stage keeps its state in the work folder, so a run that was cut goes on where it was.
"""

import argparse
import logging
from pathlib import Path

import torch

from eval.judges.canvas import WEIGHTS
from pipelines.demo_checkpoint.assemble import assemble, save_classifier
from pipelines.demo_checkpoint.check import check, write_card
from pipelines.demo_checkpoint.classifier.classifier_card import write_classifier_card
from pipelines.demo_checkpoint.classifier.nothing import Sources
from pipelines.demo_checkpoint.classifier.other_icons import load_other_icons
from pipelines.demo_checkpoint.classifier.train_classifier import train_classifier
from pipelines.demo_checkpoint.drawings import prepare
from pipelines.demo_checkpoint.icons import load_drawings
from pipelines.demo_checkpoint.retrained.recipes import RECIPES
from pipelines.demo_checkpoint.retrained.training import write_own_record
from pipelines.demo_checkpoint.tokenizer import build_tokenizer
from pipelines.demo_checkpoint.train_unet import train_unet
from pipelines.demo_checkpoint.train_vae import read_vae, train_vae
from pipelines.early import DEMO
from pipelines.run.models import DEMO_FOLDER


def main() -> None:
    """Fetch, rasterise, train, write, check."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo_checkpoint")
    parser.add_argument("--work", type=Path, default=Path("build/demo-checkpoint"))
    parser.add_argument("--out", type=Path, default=DEMO_FOLDER, help="diffusers folder to write")
    parser.add_argument("--classifier", type=Path, default=WEIGHTS, help="file to write")
    parser.add_argument("--sheet", type=Path, default=Path("docs/contact_sheet.png"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--check-only", action="store_true", help="measure what is there")
    only.add_argument(
        "--classifier-only", action="store_true", help="keep the checkpoint in --out as it is"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    pictures = prepare(load_drawings(options.work / "packages"))
    if not (options.check_only or options.classifier_only):
        tokenizer = build_tokenizer(options.work / "packages")
        vae = train_vae(pictures, options.work)
        model, factor = train_unet(vae, pictures, tokenizer, options.work / "unet.safetensors")
        assemble(model, vae, factor, tokenizer, options.out)
        write_own_record(RECIPES[DEMO], pictures, options.out, options.out)
    icons = load_other_icons(options.work / "packages", options.work / "other-icons.safetensors")
    autoencoder = read_vae(options.out)
    if not options.check_only:
        network = train_classifier(
            Sources(pictures, icons.train, autoencoder),
            Sources(pictures, icons.held_out, autoencoder),
            options.work,
        )
        save_classifier(network, options.classifier)
    unseen = Sources(pictures, icons.test, autoencoder)
    figures = check(options.out, options.classifier, unseen, options.sheet)
    write_card(figures, options.out / "README.md")
    write_classifier_card(figures, options.classifier.with_suffix(".md"))


if __name__ == "__main__":
    main()
