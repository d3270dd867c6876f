"""Train the class-conditional checkpoint from Fashion-MNIST: `make ddpm-checkpoint`.

Every model keeps its state in the work folder, so a run that was cut goes on where it was.
"""

import argparse
import logging
import sys
from pathlib import Path

import torch

from erasure.errors import ErasureError
from pipelines.class_checkpoint.garments import load_garments
from pipelines.class_checkpoint.training import is_done, train
from pipelines.class_checkpoint.variants import VARIANTS


def main() -> int:
    """Train what is not trained yet, one model after the other."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    wanted = [VARIANTS[name] for name in options.only or ["base"]]
    try:
        garments, _ = load_garments(options.data_path)
        for each in wanted:
            if not is_done(each, options.work):
                train(each, garments, options.work)
    except ErasureError as err:
        print(err, file=sys.stderr)
        return 2
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.class_checkpoint")
    parser.add_argument("--work", type=Path, default=Path("build/ddpm-checkpoint"))
    parser.add_argument("--data-path", type=Path, help="folder of the four idx files")
    parser.add_argument(
        "--only", action="append", choices=list(VARIANTS), help="one model; may be repeated"
    )
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
