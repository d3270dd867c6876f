"""Pictures per second: the runner of `erasure evaluate` against one prompt at a time.

    python benchmarks/speed/generation.py --pictures 144 --rounds 3

Both draw the same cases of the canvas on the embedded checkpoint (DDIM, 25 steps, guidance 7.5)
from the same initial noise and write them as PNG. The other way is a plain
`StableDiffusionPipeline` that is told one prompt at a time. They take turns in one process; after
each round the pictures are compared. Encoding the prompts is timed, and so is all that the runner
does: it hashes and builds the model in every round, the pipeline is built once before.
"""

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.seeds import initial_noise
from pipelines.evaluation.drawing import RunConfig, draw_cases
from pipelines.process.progress import Reporter
from pipelines.run.models import DEMO_FOLDER
from prompts.canvas import OBJECTS, STYLES, canvas_prompt
from prompts.suites.case import PromptCase

Draw = Callable[[Sequence[PromptCase], Path], None]


def canvas_cases(count: int) -> list[PromptCase]:
    """Pair by pair of style and object, seed by seed."""
    pairs = [(style, obj) for style in STYLES for obj in OBJECTS]
    return [
        PromptCase(case=f"{n:05d}", prompt=canvas_prompt(obj, style), seed=n // len(pairs))
        for n in range(count)
        for style, obj in [pairs[n % len(pairs)]]
    ]


def runner(checkpoint: Checkpoint, config: RunConfig) -> Draw:
    """Ours."""

    def draw(cases: Sequence[PromptCase], folder: Path) -> None:
        device, reporter = torch.device("cpu"), Reporter(quiet=True)
        draw_cases(
            checkpoint, cases, folder, config, device=device, reporter=reporter, name="after"
        )

    return draw


def plain(model: Path, config: RunConfig) -> Draw:
    """diffusers, one prompt at a time."""
    from diffusers import StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    side = pipeline.unet.config.sample_size
    shape = (pipeline.unet.config.in_channels, side, side)

    def draw(cases: Sequence[PromptCase], folder: Path) -> None:
        folder = folder / "images" / "after"
        folder.mkdir(parents=True)
        for case in cases:
            image = pipeline(
                case.prompt,
                latents=initial_noise([case.seed], shape),
                num_inference_steps=config.steps,
                guidance_scale=config.guidance,
            ).images[0]
            image.save(folder / f"{case.case}.png")

    return draw


def timed(draw: Draw, cases: Sequence[PromptCase]) -> tuple[float, list[np.ndarray[Any, Any]]]:
    """Seconds, and the pictures as int16 (H, W, 3)."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        draw(cases, Path(folder))
        seconds = time.perf_counter() - start
        files = [Path(folder) / "images" / "after" / f"{case.case}.png" for case in cases]
        return seconds, [np.asarray(Image.open(file), dtype=np.int16) for file in files]


def main() -> None:
    """Print a line a round, and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--pictures", type=int, default=144, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--model", type=Path, default=DEMO_FOLDER, help="a diffusers folder")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = RunConfig(steps=options.steps, batch_size=options.batch_size)
    ways = {
        "one prompt at a time": plain(options.model, config),
        f"erasure evaluate, batch {options.batch_size}": runner(
            read_checkpoint(options.model), config
        ),
    }
    cases = canvas_cases(options.pictures)
    for draw in ways.values():
        timed(draw, cases[:1])  # What is loaded at first use is not the drawing's.
    rates: dict[str, list[float]] = {way: [] for way in ways}
    apart = 0
    for number in range(options.rounds):
        pictures = []
        for way, draw in ways.items():
            seconds, images = timed(draw, cases)
            rates[way].append(options.pictures / seconds)
            pictures.append(images)
        apart = max(apart, *(int(np.abs(a - b).max()) for a, b in zip(*pictures, strict=True)))
        shown = ", ".join(f"{way} {rate[-1]:.2f}" for way, rate in rates.items())
        print(f"round {number + 1}: {shown} pictures a second", flush=True)
    print(markdown(rates, apart, " ".join(sys.argv), options.threads))


def markdown(rates: dict[str, list[float]], apart: int, command: str, threads: int) -> str:
    """The table: medians of the rounds, the ratio's too, which is taken round by round."""
    first = next(iter(rates.values()))
    lines = ["| way | pictures a second | ratio |", "| --- | --- | --- |"]
    for way, rate in rates.items():
        ratio = statistics.median(mine / its for mine, its in zip(rate, first, strict=True))
        lines.append(f"| {way} | {statistics.median(rate):.2f} | {ratio:.2f} |")
    machine = f"{platform.machine()}, {threads} threads, torch {torch.__version__}"
    same = f"largest difference between the pictures: {apart} of 255 levels"
    return "\n".join(["", f"`python {command}` ({machine}); {same}", "", *lines])


if __name__ == "__main__":
    main()
