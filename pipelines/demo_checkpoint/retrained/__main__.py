"""Train the checkpoint again without one concept each, and look at what came out: `make gold`.

Every model keeps its state in the work folder, so a run that was cut goes on where it was.
"""

import argparse
import logging
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from erasure.errors import ErasureError
from eval.judges.canvas import load_canvas_classifier
from pipelines.demo_checkpoint.retrained.checking import (
    card_of,
    compared,
    drawings_of,
    write_check,
)
from pipelines.demo_checkpoint.retrained.concepts import RETRAININGS, Retraining
from pipelines.demo_checkpoint.retrained.pictures import write_pictures
from pipelines.demo_checkpoint.retrained.recipes import RECIPES
from pipelines.demo_checkpoint.retrained.training import (
    is_done,
    load_material,
    load_pictures,
    retrain,
)
from pipelines.early import DEMO
from pipelines.run.models import DEMO_FOLDER


def main() -> int:
    """Train what is not trained yet, one model after the other or several side by side."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    names = options.only or list(RETRAININGS)
    wanted = [RETRAININGS[name] for name in names]
    missing = [each for each in wanted if not is_done(each, options.work)]
    try:
        if options.pictures is not None:
            folder = options.work / "pictures" / options.pictures
            write_pictures(load_pictures(options.work), options.pictures, folder)
            return 0
        if options.check:
            return _checked([each for each in wanted if is_done(each, options.work)], options)
        if missing:
            material, sources = load_material(options.work, options.base)
        if missing and options.jobs > 1:
            failed = _side_by_side(missing, options)
            return failed or _checked(missing, options)
        for each in missing:
            device = torch.device(options.device)
            retrain(each, RECIPES[options.of], material, sources, options.work, device)
        return 0 if options.unchecked or not missing else _checked(missing, options)
    except ErasureError as err:
        print(err.typed, file=sys.stderr)
        return 2


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo_checkpoint.retrained")
    parser.add_argument("--of", default=DEMO, choices=list(RECIPES), help="whose recipe")
    parser.add_argument("--work", type=Path, help="build/gold, or build/gold-flow for demo-flow")
    parser.add_argument("--base", type=Path, default=DEMO_FOLDER, help="gives VAE and tokenizer")
    parser.add_argument(
        "--only", action="append", choices=list(RETRAININGS), help="one model; may be repeated"
    )
    parser.add_argument("--jobs", type=int, default=1, help="models trained side by side")
    parser.add_argument("--threads", type=int, default=1, help="of each of them")
    parser.add_argument("--device", default="cpu")
    looking = parser.add_mutually_exclusive_group()
    looking.add_argument("--check", action="store_true", help="look at what is trained, and stop")
    looking.add_argument("--unchecked", action="store_true", help="train, and look at nothing")
    parser.add_argument(
        "--pictures", metavar="CONCEPT", help="write trained and held-out pictures, and stop"
    )
    options = parser.parse_args()
    options.work = options.work or Path("build") / f"gold{options.of.removeprefix(DEMO)}"
    return options


def _checked(done: Sequence[Retraining], options: argparse.Namespace) -> int:
    """Write cards, figures and sheets of the models that are there; 1 if one falls short."""
    if not done:
        print(f"no model is trained in {options.work}; leave --check out first", file=sys.stderr)
        return 2
    network = load_canvas_classifier()
    recipe = RECIPES[options.of]
    base = drawings_of(recipe.checkpoint, network)
    good = True
    for each in done:
        folder = options.work / each.name
        own = drawings_of(folder / "model", network)
        checked = compared(each, own, base)
        write_check(checked, own, folder, recipe)
        good &= checked.is_good
        print(card_of(checked, recipe))
    return 0 if good else 1


def _side_by_side(missing: Sequence[Retraining], options: argparse.Namespace) -> int:
    """Train each in a process of its own, which does not look; the first exit code but 0."""

    def run(each: Retraining) -> int:
        command = [sys.executable, "-m", "pipelines.demo_checkpoint.retrained"]
        command += ["--of", options.of, "--only", each.name, "--threads", str(options.threads)]
        command += ["--work", str(options.work), "--base", str(options.base), "--unchecked"]
        return subprocess.run([*command, "--device", options.device], check=False).returncode

    with ThreadPoolExecutor(options.jobs) as pool:
        codes = list(pool.map(run, missing))
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
