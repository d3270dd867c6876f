"""Train the class-conditional checkpoint and its judge from clothes: `make ddpm-checkpoint`.

Every model keeps its state in the work folder, so a run that was cut goes on where it was.
"""

import argparse
import logging
import sys
from pathlib import Path

import torch

from erasure.errors import ErasureError
from eval.judges.clothes import WEIGHTS
from pipelines.class_checkpoint.assemble import ship
from pipelines.class_checkpoint.cards import write_card, write_judge_card
from pipelines.class_checkpoint.check import check
from pipelines.class_checkpoint.garments import load_garments
from pipelines.class_checkpoint.train_judge import save_judge, train_judge
from pipelines.class_checkpoint.training import is_done, train
from pipelines.class_checkpoint.variants import VARIANTS
from pipelines.run.models import DDPM_FOLDER


def main() -> int:
    """Train what is not trained yet, one model after the other; of the base, write the shipped
    files and measure them."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    wanted = [VARIANTS[name] for name in options.only or ["base"]]
    try:
        garments, unseen = load_garments(options.data_path)
        for each in wanted:
            if not is_done(each, options.work) and not options.check_only:
                train(each, garments, options.work)
        if options.only and not options.check_only:
            return 0
        if not options.check_only:
            network = train_judge(garments, options.work / "judge-state.safetensors")
            save_judge(network, options.classifier)
            ship(options.work / "base" / "model", options.out)
        figures = check(options.out, options.classifier, unseen, options.sheet)
        write_card(figures, options.out / "README.md")
        write_judge_card(figures, options.classifier.with_suffix(".md"))
    except ErasureError as err:
        print(err, file=sys.stderr)
        return 2
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.class_checkpoint")
    parser.add_argument("--work", type=Path, default=Path("build/ddpm-checkpoint"))
    parser.add_argument("--out", type=Path, default=DDPM_FOLDER, help="diffusers folder to write")
    parser.add_argument("--classifier", type=Path, default=WEIGHTS, help="file to write")
    parser.add_argument("--sheet", type=Path, default=Path("docs/clothes_sheet.png"))
    parser.add_argument("--check-only", action="store_true", help="measure what is shipped")
    parser.add_argument("--data-path", type=Path, help="folder of the four idx files")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(VARIANTS),
        help="train one model and ship nothing; may be repeated",
    )
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
