"""Memory and time at true sizes: Stable Diffusion 1.x, 2.x and XL with random weights.

    python benchmarks/full_size.py                              # CPU; needs 12 GB
    python benchmarks/full_size.py --gpu --optimizer adam       # a CUDA device
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measuring import Measured, in_child, machine, peak_bytes, tell

HERE = Path(__file__).resolve().parent
GB = 1e9


@dataclass(frozen=True)
class Bar:
    """What a row should reach."""

    peak: float
    """Bytes."""
    seconds: float | None = None


BARS = {
    ("mask", "sd1"): Bar(9 * GB),
    ("mask from a file", "sd1"): Bar(9 * GB),
    ("step", "sd1"): Bar(11 * GB),
    ("gpu mask and training", "sd1"): Bar(8 * GB, 150),
    ("gpu step", "sdxl"): Bar(16 * GB),
}
RANKING_SPEED, RANKING_MEMORY = 20, 3
"""Times as fast and times less memory than a double argsort."""


def mask(chosen: argparse.Namespace) -> Measured:
    """Gradients of two pictures, summed in fp32, and the ranking of all weights."""
    import torch
    from random_models import random_data, random_unet, shape_of, weights_of

    from erasure.masks import salient_mask
    from erasure.saliency import SaliencyConfig, accumulate_gradients, saliency_scores
    from erasure.stable_diffusion import wrap_unet

    cpu = torch.device("cpu")
    shape = shape_of(chosen.family, chosen.scale)
    network = random_unet(shape, torch.float32, cpu).requires_grad_(True)
    total = weights_of(network)
    data = random_data(shape, chosen.pixels, pictures=2)
    config = SaliencyConfig(batch_size=1)
    begun = time.perf_counter()
    for _ in accumulate_gradients(wrap_unet(network), data, shape.schedule, config, device=cpu):
        pass
    scores = saliency_scores(network, dict(network.named_parameters()))
    del network  # as when `erasure.edit.measure_saliency` returns
    found = salient_mask(scores, chosen.density)
    seconds = time.perf_counter() - begun
    return Measured(seconds, peak_bytes(), f"2 pictures, {found.selected:,} of {total:,}")


def mask_from_file(chosen: argparse.Namespace) -> Measured:
    """The same through `find_mask`, which opens and hashes the weights."""
    from random_models import file_checkpoint, random_data, shape_of

    from erasure.edit import find_mask
    from erasure.saliency import SaliencyConfig

    shape = shape_of(chosen.family, chosen.scale)
    data = random_data(shape, chosen.pixels, pictures=2)
    checkpoint = file_checkpoint(shape, Path(chosen.file))
    begun = time.perf_counter()
    found = find_mask(checkpoint, data, density=chosen.density, config=SaliencyConfig(batch_size=1))
    seconds = time.perf_counter() - begun
    return Measured(seconds, peak_bytes(), f"2 pictures, {found.selected:,} selected")


def step(chosen: argparse.Namespace) -> Measured:
    """Two training steps with the network's weights in bf16; the mask stays in memory."""
    import torch
    from random_models import random_data, random_mask, random_unet, shape_of

    from erasure.objectives import RandomLabel
    from erasure.stable_diffusion import wrap_unet
    from erasure.trainer import MaskedTrainer, TrainConfig

    shape = shape_of(chosen.family, chosen.scale)
    network = random_unet(shape, torch.bfloat16, torch.device("cpu"))
    selected = random_mask(network, chosen.density)
    trainer = MaskedTrainer(
        network,
        wrap_unet,
        random_data(shape, chosen.pixels),
        selected,
        schedule=shape.schedule,
        objective=RandomLabel(),
        config=TrainConfig(
            steps=2,
            batch_size=chosen.batch_size,
            micro_batch=min(chosen.micro_batch, chosen.batch_size),
            optimizer=chosen.optimizer,
            precision="bf16",
        ),
    )
    begun = time.perf_counter()
    steps = list(trainer.steps())
    seconds = (time.perf_counter() - begun) / len(steps)
    return Measured(seconds, peak_bytes(), f"a step of {chosen.batch_size}, {chosen.optimizer}")


def erase_from_file(chosen: argparse.Namespace) -> Measured:
    """A run of one step through `erase`, with its proof that nothing else moved."""
    from random_models import file_checkpoint, random_data, shape_of

    from erasure.edit import erase, find_mask
    from erasure.objectives import RandomLabel
    from erasure.trainer import TrainConfig

    shape = shape_of(chosen.family, chosen.scale)
    data = random_data(shape, chosen.pixels)
    checkpoint = file_checkpoint(shape, Path(chosen.file))
    selected = find_mask(checkpoint, data, "random", density=chosen.density)
    config = TrainConfig(
        steps=1,
        batch_size=chosen.batch_size,
        micro_batch=min(chosen.micro_batch, chosen.batch_size),
        optimizer=chosen.optimizer,
        precision="bf16",
    )
    begun = time.perf_counter()
    edit = erase(checkpoint, data, selected, RandomLabel(), config)
    seconds = time.perf_counter() - begun
    return Measured(seconds, peak_bytes(), f"1 step, {edit.provenance.moved:,} moved")


CPU_JOBS: dict[str, Callable[[argparse.Namespace], Measured]] = {
    "mask": mask,
    "mask from a file": mask_from_file,
    "step": step,
    "erase from a file": erase_from_file,
}


def ranking(weights: int) -> tuple[list[list[str]], bool]:
    """Rows of `ranking.py`, and whether the bars are met."""
    found = {}
    for way in ("top_fraction", "double argsort"):
        command = [sys.executable, str(HERE / "ranking.py"), str(weights), "--only", way]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        seconds, each = said.split()[-2:]
        found[way] = float(seconds), float(each)
    (ours, memory), (theirs, more) = found.values()
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
    """One row, and whether its bar is met."""
    name, bar = f"{job}, {family}", BARS.get((job, family))
    if isinstance(measured, str):
        return [name, "", "", "", "NO" if bar else "", measured], bar is None
    cells = [name, f"{measured.seconds:.1f}", f"{measured.peak / GB:.2f}"]
    if bar is None:
        return [*cells, "", "", measured.note], True
    met = measured.peak <= bar.peak and measured.seconds <= (bar.seconds or measured.seconds)
    told = f"{bar.peak / GB:.0f} GB" + (f", {bar.seconds:.0f} s" if bar.seconds else "")
    return [*cells, told, "yes" if met else "NO", measured.note], met


def markdown(rows: list[list[str]], about: str) -> str:
    """The table."""
    head = ["measurement", "seconds", "peak GB", "bar", "met", "what"]
    lines = [about, "", *(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])]
    return "\n".join(lines)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", default=None, help="sd1, sd2, sdxl [sd1]")
    parser.add_argument("--jobs", nargs="+", help="some of: " + ", ".join([*CPU_JOBS, "ranking"]))
    parser.add_argument("--scale", choices=("tiny", "half", "full"), default="full")
    parser.add_argument("--pixels", type=int, help="a side [256; on a GPU 512, SD XL 1024]")
    parser.add_argument("--density", type=float, help="[0.5; SD XL on a GPU 0.1]")
    parser.add_argument("--batch-size", type=int, help="of a step [2; on a GPU 8]")
    parser.add_argument("--micro-batch", type=int, help="samples a pass [1; on a GPU 2]")
    parser.add_argument("--optimizer", default="adam", help="of `TrainConfig`")
    parser.add_argument("--weights", type=int, default=100_000_000, help="of the ranking")
    parser.add_argument("--gpu", action="store_true", help="the jobs of a CUDA device")
    parser.add_argument("--device", default="cuda", help="of --gpu; cpu only to try it out")
    parser.add_argument("--mask-batches", type=int, default=120, help="of --gpu, 8 pictures each")
    parser.add_argument("--steps", type=int, default=600, help="of --gpu")
    parser.add_argument("--checkpointing", action="store_true", help="of --gpu")
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
        ("density", 0.5, 0.1 if large else 0.5),
        ("batch_size", 2, 8),
        ("micro_batch", 1, 1 if large else 2),
    ):
        if getattr(chosen, name) is None and chosen.family is not None:
            setattr(chosen, name, gpu if chosen.gpu else cpu)


def main() -> None:
    """Print the table, or measure one job of it with `--job`."""
    chosen = options()
    if chosen.job:
        jobs = dict(CPU_JOBS)
        if chosen.gpu:
            from gpu_jobs import GPU_JOBS

            jobs = GPU_JOBS
        tell(jobs[chosen.job](chosen))
        return
    rows, met = gpu_rows() if chosen.gpu else cpu_rows(chosen)
    print(markdown(rows, _about(chosen)))
    sys.exit(0 if met or chosen.scale != "full" else 1)


def cpu_rows(chosen: argparse.Namespace) -> tuple[list[list[str]], bool]:
    """All rows, and whether every bar is met."""
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
                row, met = row_of(job, family, _child(job, family, ["--file", str(file)]))
                rows.append(row)
                all_met &= met
    if "ranking" in jobs:
        more, met = ranking(chosen.weights)
        rows += more
        all_met &= met
    return rows, all_met


def gpu_rows() -> tuple[list[list[str]], bool]:
    """SD 1.x from mask to last step, and steps of SD XL."""
    rows, all_met = [], True
    for job, family in (("gpu mask and training", "sd1"), ("gpu step", "sdxl")):
        row, met = row_of(job, family, _child(job, family, []))
        rows.append(row)
        all_met &= met
    return rows, all_met


def _child(job: str, family: str, more: list[str]) -> Measured | str:
    """The job in a process of its own, with this command's options."""
    print(f"{job}, {family} ...", file=sys.stderr, flush=True)
    told = ["--job", job, "--family", family, *more]
    return in_child(HERE / "full_size.py", [*sys.argv[1:], *told])


def _about(chosen: argparse.Namespace) -> str:
    where = machine()
    if chosen.gpu and chosen.device != "cpu":
        import torch

        where = f"{torch.cuda.get_device_name(chosen.device)}; {where}"
    return f"`python {' '.join(sys.argv)}` ({where})"


if __name__ == "__main__":
    main()
