"""Processor time of solving all keys and values of Stable Diffusion 1.x in closed form.

    python benchmarks/speed/closed_forms.py --threads 1

The weights and the text features are random, of the true sizes: 32 weights, 24,960 rows, 768
features. The masked rows are solved one by one for the weights that a random half selects: with
few vectors in the inner system of their number, with many in the outer one of the features. `cut`
is the plain solution set to zero outside the mask, which costs nothing more and is not the best.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from erasure.seeds import generator_for
from erasure.solving.quadratic import Quadratic

WIDTHS = {320: 5, 640: 5, 1280: 6}
"""Rows of a key or value weight of SD 1.x -> cross-attention layers that have them."""
EDITED = 6
RIDGE = 0.5


def cost(problem: Quadratic, residual: Tensor, change: Tensor) -> float:
    """|D K - R|^2 + lambda |D|^2"""
    gap = change @ problem.vectors
    gap[:, : problem.edited] -= residual
    return float(gap.square().sum() + problem.ridge * change.square().sum())


def measure(name: str, vectors: int, rows: dict[int, int], features: int, density: float) -> None:
    """Print one line of the table."""
    draw = generator_for(0, "closed forms", vectors)
    columns = torch.randn(features, vectors, generator=draw, dtype=torch.float64)
    spent, best, cut, plain = 0.0, 0.0, 0.0, 0.0
    for height, layers in rows.items():
        for _ in range(2 * layers):
            residual = torch.randn(height, EDITED, generator=draw, dtype=torch.float64)
            free = torch.rand(height, features, generator=draw) < density
            start = time.process_time()
            problem = Quadratic(columns, EDITED, RIDGE)  # anew: its factor is part of the cost
            change = problem.change(residual, None if density == 1 else free)
            spent += time.process_time() - start
            best += cost(problem, residual, change)
            whole = problem.change(residual)
            plain += cost(problem, residual, whole)
            cut += cost(problem, residual, whole * free)
    print(
        f"| {name} | {vectors} | {spent:.3g} | {plain:.4g} | {best:.4g} | {cut:.4g} |", flush=True
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rows", type=float, default=1.0, help="share of all rows, for a trial")
    parser.add_argument("--features", type=int, default=768)
    parser.add_argument("--few", type=int, default=50, help="vectors of prompts, one token each")
    parser.add_argument("--many", type=int, default=900, help="vectors of prompts, all tokens")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = {max(1, int(options.rows * height)): layers for height, layers in WIDTHS.items()}
    print("| | vectors | seconds of a core | cost unmasked | cost | cost of cut |")
    print("| --- | --- | --- | --- | --- | --- |")
    measure("all weights", options.few, rows, options.features, 1.0)
    measure("half, inner system", options.few, rows, options.features, 0.5)
    measure("half, outer system", options.many, rows, options.features, 0.5)


if __name__ == "__main__":
    main()
