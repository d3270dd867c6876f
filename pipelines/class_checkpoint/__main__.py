"""Train a class-conditional checkpoint: `make ddpm-checkpoint`.

That of clothes is shipped, with its judge; that of icons stays in the work folder. Every
model keeps its state there, so a run that was cut goes on where it was.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Final

import torch

from erasure.errors import ErasureError
from eval.judges.clothes import WEIGHTS
from pipelines.class_checkpoint.assemble import ship
from pipelines.class_checkpoint.cards import write_card, write_judge_card
from pipelines.class_checkpoint.check import check
from pipelines.class_checkpoint.pictures import ClassPictures
from pipelines.class_checkpoint.train_judge import save_judge, train_judge
from pipelines.class_checkpoint.training import is_done, train
from pipelines.class_checkpoint.worlds import WORLDS
from pipelines.run.models import DDPM_FOLDER

SHIPPED: Final = "clothes"


def main() -> int:
    """Train what is not trained yet, one model after the other; measure the base, and write the
    shipped files where it is theirs."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    world = WORLDS[options.data]
    unknown = [name for name in options.only or [] if name not in world.variants]
    if unknown:
        print(f"--only is {unknown[0]!r}; give {', '.join(world.variants)}", file=sys.stderr)
        return 2
    try:
        pictures, unseen = world.load(options.data_path)
        if not options.check_only:
            for name in options.only or ["base"]:
                each = world.variants[name]
                if not is_done(each, options.work):
                    train(world, each, pictures, options.work)
            if options.only:
                return 0
            if world.name == SHIPPED:
                network = train_judge(pictures, options.work / "judge-state.safetensors")
                save_judge(network, options.classifier)
        _measure(options, unseen)
    except ErasureError as err:
        print(err, file=sys.stderr)
        return 2
    return 0


def _measure(options: argparse.Namespace, unseen: ClassPictures) -> None:
    """Ship the base where it is the embedded model, and say what it and its judge come to."""
    world = WORLDS[options.data]
    shipped = world.name == SHIPPED
    model = options.out if shipped else options.work / "base" / "model"
    if shipped and not options.check_only:
        ship(options.work / "base" / "model", options.out)
    figures = check(world, model, world.judge(options.classifier), unseen, options.sheet)
    if shipped:
        write_card(figures, options.out / "README.md")
        write_judge_card(figures, options.classifier.with_suffix(".md"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.class_checkpoint")
    parser.add_argument("--data", choices=list(WORLDS), default=SHIPPED)
    parser.add_argument("--work", type=Path, help="folder of the states")
    parser.add_argument("--out", type=Path, help="diffusers folder to ship")
    parser.add_argument("--classifier", type=Path, help="file of the judge to write")
    parser.add_argument("--sheet", type=Path, help="picture of ten seeds a class to write")
    parser.add_argument("--check-only", action="store_true", help="measure what is there")
    parser.add_argument("--data-path", type=Path, help="folder of the idx files or of the icons")
    parser.add_argument(
        "--only", action="append", help="train one model and measure nothing; may be repeated"
    )
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    shipped = options.data == SHIPPED
    name = "ddpm-checkpoint" if shipped else f"ddpm-{options.data}"
    options.work = options.work or Path("build") / name
    if not shipped and (options.classifier or options.out):
        parser.error("icons are not shipped and have the canvas's judge; leave these options out")
    if options.only and options.check_only:
        parser.error("--only trains, and --check-only does not; leave one out")
    options.out = options.out or DDPM_FOLDER
    options.classifier = options.classifier or WEIGHTS
    options.sheet = options.sheet or Path("docs") / f"{options.data}_sheet.png"
    return options


if __name__ == "__main__":
    sys.exit(main())
