"""Time and memory of ranking N scores: ours against a literal double argsort.

    python benchmarks/ranking.py 20000000

Each way runs in a process of its own; memory is the peak beyond the process with its scores.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measuring import peak_bytes

from erasure.masks.selection import top_fraction, top_fractions

LAYERS = 20


def double_argsort(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rank every weight by sorting twice, as the paper's release does; int64 of 0 and 1."""
    flat = -torch.cat([value.flatten() for value in scores.values()])
    ranks = torch.argsort(torch.argsort(flat))
    threshold = int(len(flat) * 0.5)
    masks, start = {}, 0
    for name, value in scores.items():
        part = ranks[start : start + value.numel()]
        chosen = torch.zeros_like(part)
        chosen[part < threshold] = 1
        masks[name] = chosen.reshape(value.shape)
        start += value.numel()
    return masks


WAYS: dict[str, Callable[[Mapping[str, Tensor]], object]] = {
    "top_fraction": lambda scores: top_fraction(scores, 0.5),
    "top_fractions, 5 densities": lambda scores: top_fractions(scores, [0.1, 0.3, 0.5, 0.7, 0.9]),
    "double argsort": double_argsort,
}


def measure(way: str, weights: int, clock: Callable[[], float]) -> None:
    """Print seconds and bytes a weight of one way."""
    draw = torch.Generator().manual_seed(0)
    each = -(-weights // LAYERS)
    scores = {f"w{i}": torch.rand(each, generator=draw) for i in range(LAYERS)}
    top_fraction({"w": torch.rand(9)}, 0.5)  # What is loaded at first use is not the ranking's.
    before, start = peak_bytes(), clock()
    result = WAYS[way](scores)
    seconds = clock() - start
    del result
    print(f"{way:<28}{seconds:>10.2f}{(peak_bytes() - before) / weights:>16.1f}")


def main() -> None:
    """Print the table, or one row of it with `--only`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=int, nargs="?", default=20_000_000)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--only", choices=WAYS)
    args = parser.parse_args()
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    if args.only:
        measure(args.only, args.weights, clock)
        return
    print(f"{args.weights:,} weights, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'way':<28}{args.clock + ' s':>10}{'bytes a weight':>16}", flush=True)
    for way in WAYS:
        arguments = [str(args.weights), "--clock", args.clock, "--only", way]
        subprocess.run([sys.executable, __file__, *arguments], check=True)


if __name__ == "__main__":
    main()
