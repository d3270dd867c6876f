"""Memory and time at true sizes: Stable Diffusion 1.x to 3.5 and FLUX.1 with random weights.

    python benchmarks/full_size.py --densities 0.1 0.01         # CPU; needs 14 GB
    python benchmarks/full_size.py --families sdxl --jobs rank step --density 0.1
    python benchmarks/full_size.py --families sd35_medium --jobs step --pixels 512 \
        --density 0.1 --batch-size 1 --checkpointing
    python benchmarks/full_size.py --gpu                        # a CUDA device; 10 minutes
    python benchmarks/full_size.py --scale tiny --weights 200000   # does it run at all?

Every measurement is a process of its own. Memory is what the operating system says the process held
at most, with the interpreter and all libraries; on a GPU, what torch reserved there at most.
Weights are random and filled where they lie. `from a file` means that the weights come from a
safetensors file, as a user's do: its pages count as long as they are mapped.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measuring import Measured, in_child, machine, tell

from pipelines.process.heap import give_back_large_blocks

HERE = Path(__file__).resolve().parent
GB = 1e9
CPU_JOBS = ("mask", "mask from a file", "rank", "rank at 5 densities", "step", "erase from a file")
"""Keys into `cpu_jobs.CPU_JOBS`; that module brings torch with it."""
FOLLOWS = 0.8
"""Share of what the tensors of the selected weights shrink by that the peak must shrink by."""

NEAR = 0.1
"""Share that the peak of a step may be off what the planner's bill says of it."""


@dataclass(frozen=True)
class Limit:
    """What a row should reach."""

    peak: float
    """Bytes."""
    seconds: float | None = None
    faster: float | None = None
    """Times as fast as the released structure."""


LIMITS = {
    ("mask", "sd1"): Limit(9 * GB),
    ("mask from a file", "sd1"): Limit(9 * GB),
    ("step", "sd1"): Limit(11 * GB),
    ("gpu mask and training", "sd1"): Limit(8 * GB, 120),
    ("gpu step", "sdxl"): Limit(16 * GB),
    ("gpu step", "sd35_medium"): Limit(16 * GB),
    ("gpu step against released", "sd1"): Limit(float("inf"), faster=5),
    ("gpu step", "flux_dev"): Limit(40 * GB),
}
GPU_ROWS: dict[tuple[str, str], list[str]] = {
    ("gpu mask and training", "sd1"): [],
    ("gpu step", "sdxl"): ["--density", "0.1"],
    ("gpu step", "sd35_medium"): ["--density", "0.01"],
    ("gpu step against released", "sd1"): [],
    ("gpu audit", "sd1"): ["--batch-size", "16"],
    ("gpu step", "flux_dev"): ["--density", "0.01", "--checkpointing", "--micro-batch", "1"],
}
"""Job and family -> its own options, in the order in which they are measured; the last ones are
left out where the time is over."""
RANKING_SPEED, RANKING_MEMORY = 20, 3
"""Times as fast and times less memory than a double argsort."""


def ranking(weights: int, clock: str) -> tuple[list[list[str]], bool]:
    """Rows of `ranking.py`, and whether the limits are kept."""
    figures = {}
    for way in ("top_fraction", "double argsort"):
        arguments = [str(weights), "--clock", clock, "--only", way]
        command = [sys.executable, str(HERE / "ranking.py"), *arguments]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        seconds, each = said.split()[-2:]
        figures[way] = float(seconds), float(each)
    (ours, memory), (theirs, more) = figures.values()
    faster, smaller = theirs / max(ours, 0.01), more / max(memory, 0.1)
    met = faster >= RANKING_SPEED and smaller >= RANKING_MEMORY
    rows = [
        [f"ranking {weights:,} weights", f"{ours:.2f}", f"{memory * weights / GB:.2f}", "", "", ""],
        [
            "... by a double argsort",
            f"{theirs:.2f}",
            f"{more * weights / GB:.2f}",
            f"{RANKING_SPEED} x as fast, 1/{RANKING_MEMORY} of the memory",
            "yes" if met else "NO",
            f"ours {faster:.1f} x as fast, 1/{smaller:.1f} of the memory beyond the scores",
        ],
    ]
    return rows, met


def row_of(job: str, family: str, measured: Measured | str) -> tuple[list[str], bool]:
    """One row, and whether it keeps its limit."""
    name, bound = f"{job}, {family}", LIMITS.get((job, family))
    if isinstance(measured, str):
        return [name, "", "", "", "NO" if bound else "", measured], bound is None
    cells = [name, f"{measured.seconds:.1f}", f"{measured.peak / GB:.2f}"]
    if bound is None and measured.billed:
        off = measured.peak / measured.billed - 1
        limit = f"within {100 * NEAR:.0f} % of the bill, {measured.billed / GB:.2f} GB"
        return [
            *cells,
            limit,
            "yes" if abs(off) <= NEAR else "NO",
            f"{measured.note}, {100 * off:+.1f} %",
        ], (abs(off) <= NEAR)
    if bound is None:
        return [*cells, "", "", measured.note], True
    note = measured.note
    if bound.faster is not None:
        met, limit = measured.faster >= bound.faster, f"{bound.faster:g} x as fast as released"
        note += f", {measured.faster:.2f} x as fast"
    else:
        met = measured.peak <= bound.peak and measured.seconds <= (
            bound.seconds or measured.seconds
        )
        limit = f"{bound.peak / GB:.0f} GB" + (f", {bound.seconds:.0f} s" if bound.seconds else "")
    return [*cells, limit, "yes" if met else "NO", note], met


def markdown(rows: list[list[str]], about: str) -> str:
    """The table."""
    head = ["measurement", "seconds", "peak GB", "limit", "within it", "what"]
    lines = [about, "", *(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])]
    return "\n".join(lines)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--families",
        nargs="+",
        default=None,
        help="such as sd1, sdxl, sd35_medium [sd1; of --gpu all of its rows]",
    )
    known = (*CPU_JOBS, "ranking")
    parser.add_argument("--jobs", nargs="+", choices=known, metavar="JOB", help=", ".join(known))
    parser.add_argument("--scale", choices=("tiny", "half", "full"), default="full")
    parser.add_argument("--pixels", type=int, help="a side [256; on a GPU 512, SD XL 1024]")
    parser.add_argument("--density", type=float, help="[0.5; larger models on a GPU 0.1 and 0.01]")
    parser.add_argument("--batch-size", type=int, help="of a step [2; on a GPU 8]")
    parser.add_argument("--blocks", type=int, help="of a joint transformer's step, at most [all]")
    parser.add_argument("--densities", type=float, nargs="*", default=[], help="more, of the step")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--micro-batch", type=int, help="samples a pass [1; on a GPU 2]")
    parser.add_argument("--optimizer", default="adam", help="of `TrainConfig`")
    parser.add_argument("--moments", choices=("fp32", "8bit"), default="fp32")
    parser.add_argument("--weights", type=int, default=100_000_000, help="of the ranking")
    parser.add_argument("--gpu", action="store_true", help="the jobs of a CUDA device")
    parser.add_argument("--minutes", type=float, default=10, help="most that --gpu takes in all")
    parser.add_argument("--device", default="cuda", help="of --gpu; cpu only to try it out")
    parser.add_argument("--mask-batches", type=int, default=120, help="of --gpu, 8 pictures each")
    parser.add_argument("--steps", type=int, default=600, help="of --gpu")
    parser.add_argument("--checkpointing", action="store_true", help="of steps, and of --gpu")
    parser.add_argument("--compile", action="store_true", help="of --gpu")
    parser.add_argument("--job", help=argparse.SUPPRESS)  # in a child
    parser.add_argument("--family", help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    _fill(chosen)
    return chosen


def _fill(chosen: argparse.Namespace) -> None:
    """Defaults that hang on other options."""
    large = chosen.gpu and chosen.family == "sdxl"
    for name, cpu, gpu in (
        ("pixels", 256, 1024 if large else 512),
        ("density", 0.5, 0.5),
        ("batch_size", 2, 8),
        ("micro_batch", 1, 1 if large else 2),
    ):
        if getattr(chosen, name) is None and chosen.family is not None:
            setattr(chosen, name, gpu if chosen.gpu else cpu)


def main() -> None:
    """Print the tables, or measure one job of them with `--job`."""
    chosen = options()
    if chosen.job:
        _measure(chosen)
        return
    bills: dict[str, Mapping[str, int]] = {}
    rows, met = gpu_rows(chosen) if chosen.gpu else cpu_rows(chosen, bills)
    print(markdown(rows, _about(chosen)))
    if bills:
        print(f"\n{bill_table(bills)}")
    sys.exit(0 if met or chosen.scale != "full" else 1)


def _measure(chosen: argparse.Namespace) -> None:
    jobs: Mapping[str, Callable[[argparse.Namespace], Measured]]
    if chosen.gpu:
        from gpu_jobs import GPU_JOBS as jobs
    else:
        from cpu_jobs import CPU_JOBS as jobs
    give_back_large_blocks()  # as the command line does
    tell(jobs[chosen.job](chosen))


def cpu_rows(
    chosen: argparse.Namespace, bills: dict[str, Mapping[str, int]]
) -> tuple[list[list[str]], bool]:
    """All rows, and whether every limit is kept; what rows held goes into `bills`."""
    rows, all_met = [], True
    jobs = chosen.jobs or [*CPU_JOBS, "ranking"]
    for family in chosen.families or ["sd1"]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "unet.safetensors"
            if any("file" in job for job in jobs):
                made = in_child(HERE / "random_models.py", [family, chosen.scale, str(file)])
                if isinstance(made, str):
                    sys.exit(f"the file of {family}: {made}")
            for job in (job for job in jobs if job in CPU_JOBS):
                measured = _child(job, family, ["--file", str(file)])
                row, met = row_of(job, family, measured)
                rows.append(row)
                all_met &= met
                if isinstance(measured, Measured) and measured.held:
                    bills[row[0]] = measured.held
                if job == "step" and chosen.densities:
                    more, met = density_rows(chosen, family, measured, bills)
                    rows += more
                    all_met &= met
    if "ranking" in jobs:
        more, met = ranking(chosen.weights, chosen.clock)
        rows += more
        all_met &= met
    return rows, all_met


def density_rows(
    chosen: argparse.Namespace,
    family: str,
    first: Measured | str,
    bills: dict[str, Mapping[str, int]],
) -> tuple[list[list[str]], bool]:
    """Steps at other densities, and whether the peak falls as the selected weights do."""
    rows, all_met = [], True
    for density in chosen.densities:
        name = f"step at density {density:g}"
        measured = _child("step", family, ["--density", str(density)])
        row, _ = row_of(name, family, measured)
        if isinstance(first, Measured) and isinstance(measured, Measured):
            bills[row[0]] = measured.held
            fallen = (first.peak - measured.peak) / GB
            expected = (_of_selected(first) - _of_selected(measured)) / GB
            met = fallen >= FOLLOWS * expected
            row[3:5] = [f"{FOLLOWS * expected:.2f} GB less", "yes" if met else "NO"]
            row[5] += f", {fallen:.2f} GB less, the tensors of the selected {expected:.2f}"
            all_met &= met
        rows.append(row)
    return rows, all_met


def _of_selected(measured: Measured) -> int:
    """Bytes of the tensors that are as long as there are selected weights."""
    kinds = ("selected", "moments", "positions")
    return sum(size for what, size in measured.held.items() if any(k in what for k in kinds))


def bill_table(bills: Mapping[str, Mapping[str, int]]) -> str:
    """What the rows held, in GB."""
    lines = ["| row | held, GB |", "| --- | --- |"]
    for name, held in bills.items():
        parts = ", ".join(f"{what} {size / GB:.2f}" for what, size in held.items())
        lines.append(f"| {name} | {parts} |")
    return "\n".join(lines)


def gpu_rows(chosen: argparse.Namespace) -> tuple[list[list[str]], bool]:
    """SD 1.x from mask to last step, steps of larger models, ours against the released one, and the
    passes of an audit, as far as the time goes."""
    rows, all_met = [], True
    end = time.monotonic() + 60 * chosen.minutes
    for (job, family), own in GPU_ROWS.items():
        if chosen.families and family not in chosen.families:
            continue
        left = end - time.monotonic()
        measured: Measured | str = "not begun, as the time was over"
        if left > 0:
            measured = _child(job, family, under=own, seconds=left)
        row, met = row_of(job, family, measured)
        rows.append(row)
        all_met &= met
    return rows, all_met


def _child(
    job: str,
    family: str,
    over: Sequence[str] = (),
    *,
    under: Sequence[str] = (),
    seconds: float | None = None,
) -> Measured | str:
    """The job in a process of its own, with this command's options.

    Args:
        over: options that go over those of the command.
        under: options that the command's own go over.
        seconds: after which it is ended.
    """
    print(f"{job}, {family} ...", file=sys.stderr, flush=True)
    arguments = [*under, *sys.argv[1:], "--job", job, "--family", family, *over]
    return in_child(HERE / "full_size.py", arguments, seconds)


def _about(chosen: argparse.Namespace) -> str:
    where = machine()
    if chosen.gpu and chosen.device != "cpu":
        import torch

        where = f"{torch.cuda.get_device_name(chosen.device)}; {where}"
    return f"`python {' '.join(sys.argv)}` ({where})"


if __name__ == "__main__":
    main()
