"""Pictures and passes a second: the runner of `erasure audit` against one try after the other.

    python benchmarks/speed/audit_speed.py --tries 48 --rounds 3

Both draw the same tries of the attacks that need no picture on the embedded checkpoint, as `audit`
draws it (DDIM, 25 steps, guidance 2.5). The runner draws in batches over cases, arms and attacks
and swaps weights once for all tries that share them; the other way takes one try at a time, as the
attacks' own releases do. They take turns in one process; after each round the pictures are
compared.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipelines.audit.attacking import drawing_cost_of
from pipelines.audit.drawing import Job, draw_jobs
from pipelines.audit.lines import open_lines
from pipelines.audit.settings import resolve_audit
from pipelines.audit.workshop import Workshop
from pipelines.drawing.generation import Painter, Picture
from pipelines.process.progress import Reporter

ATTACKS = ("words", "seeds", "prefixes", "eta", "rounding")


def jobs_of(shop: Workshop, count: int) -> list[Job]:
    """The first tries of each attack, as many of each."""
    target = shop.target("audited", gathered=False)
    each = -(-count // len(ATTACKS))
    jobs = []
    for attack in shop.recipe.chosen():
        tries = list(attack.run(target))[:each]
        jobs += [(t.payload, t.case.seed if t.seed is None else t.seed) for t in tries]
    return jobs[:count]


def one_by_one(painter: Painter, jobs: Sequence[Job]) -> list[Picture]:
    """Each try by itself."""
    return [picture for job in jobs for picture in draw_jobs(painter, [job])]


def timed(draw: Callable[[], list[Picture]]) -> tuple[float, np.ndarray]:
    """Seconds, and the pictures."""
    started = time.perf_counter()
    pictures = draw()
    spent = time.perf_counter() - started
    return spent, np.stack([np.asarray(p.image, dtype=np.int16) for p in pictures])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tries", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--batch", type=int, default=48)
    options = parser.parse_args()
    tables = {
        "model": "demo",
        "concept": "church",
        "attacks": list(ATTACKS),
        "steps": options.steps,
        "batch_size": options.batch,
        "budget": options.tries,
        "device": "cpu",
    }
    recipe = resolve_audit(tables, canvas=True)
    shop = Workshop(recipe, open_lines(recipe), Path(), torch.device("cpu"), Reporter(quiet=True))
    painter, jobs = shop.painter("audited"), jobs_of(shop, options.tries)
    passes = sum(drawing_cost_of(painter, payload).forwards for payload, _ in jobs)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    ratios, best = [], {"runner": 0.0, "one by one": 0.0}
    for _ in range(options.rounds):
        together, ours = timed(lambda: draw_jobs(painter, jobs))
        apart, theirs = timed(lambda: one_by_one(painter, jobs))
        ratios.append(apart / together)
        best["runner"] = max(best["runner"], len(jobs) / together)
        best["one by one"] = max(best["one by one"], len(jobs) / apart)
        differ = int(np.abs(ours - theirs).max())
        print(f"round: {together:.1f} s against {apart:.1f} s; pictures differ by {differ} of 255")
    for name, rate in best.items():
        print(f"{name:<12} {rate:.2f} pictures/s  {rate * passes / len(jobs):.0f} passes/s")
    print(f"ratio (median of {options.rounds} rounds): {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
