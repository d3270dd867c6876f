"""Pictures and passes a second: the runner of `erasure audit` against one try after the other.

    python benchmarks/speed/audit_speed.py --tries 48 --rounds 3

Three ways draw the same tries of the attacks that need no picture on the embedded checkpoint, as
`audit` draws it (DDIM, 25 steps, guidance 2.5): the runner, in batches over cases, arms and
attacks, with weights swapped once for all tries that share them; the runner one try at a time; and,
as the attacks' own releases do, a plain `StableDiffusionPipeline` that is told one prompt at a
time, its weights replaced for each try that changes them. Then steps of a search for a prefix, of
six prompts in one pass and of one prompt after the other. The ways take turns in one process; after
each round the pictures are compared.

Seconds are those that the processors gave, so that other work on the machine counts as little as it
can; they are wall time where nothing else is at work.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from erasure.attacks import Material, Target
from erasure.attacks.registry import make_attack
from pipelines.audit.attacking import drawing_cost_of
from pipelines.audit.drawing import Job, draw_jobs
from pipelines.audit.lines import open_lines
from pipelines.audit.settings import resolve_audit
from pipelines.audit.workshop import Workshop
from pipelines.drawing.generation import Painter
from pipelines.process.progress import Reporter
from pipelines.run.models import DEMO_FOLDER

ATTACKS = ("words", "seeds", "prefixes", "eta", "rounding")
RUNNER = "runner"
Images = list[Image.Image]


def jobs_of(shop: Workshop, count: int) -> list[Job]:
    """The first tries of each attack, as many of each."""
    target = shop.target("audited", gathered=False)
    each = -(-count // len(ATTACKS))
    jobs = []
    for attack in shop.recipe.chosen():
        tries = list(attack.run(target))[:each]
        jobs += [(t.payload, t.case.seed if t.seed is None else t.seed) for t in tries]
    return jobs[:count]


def together(painter: Painter, jobs: Sequence[Job]) -> Images:
    """All tries, as the runner draws them."""
    return [picture.image for picture in draw_jobs(painter, jobs)]


def apart(painter: Painter, jobs: Sequence[Job]) -> Images:
    """Each try by itself."""
    return [image for job in jobs for image in together(painter, [job])]


def plain(steps: int, guidance: float) -> Callable[[Sequence[Job]], Images]:
    """diffusers, one prompt at a time."""
    from diffusers import StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline.from_pretrained(DEMO_FOLDER)
    pipeline.set_progress_bar_config(disable=True)
    side = pipeline.unet.config.sample_size
    shape = (pipeline.unet.config.in_channels, side, side)
    own = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}

    def draw(jobs: Sequence[Job]) -> Images:
        images = []
        for payload, seed in jobs:
            if payload.weights is not None:
                pipeline.unet.load_state_dict({**own, **payload.weights})
            chance = torch.Generator().manual_seed(seed)
            images += pipeline(
                payload.prompt,
                latents=torch.randn(1, *shape, generator=chance),
                generator=chance,
                eta=payload.eta or 0.0,
                num_inference_steps=steps,
                guidance_scale=guidance,
            ).images
            if payload.weights is not None:
                pipeline.unet.load_state_dict(own)
        return images

    return draw


T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds of the processors, a thread each, or of the clock where that is less; and what it
    gives."""
    started, used = time.perf_counter(), time.process_time()
    result = work()
    busy = (time.process_time() - used) / torch.get_num_threads()
    return min(time.perf_counter() - started, busy), result


def drawing(
    ways: Mapping[str, Callable[[], Images]], jobs: Sequence[Job], passes: int, rounds: int
) -> None:
    """Print what each way draws in a second; the ratios are medians over the rounds."""
    alike = [n for n, (payload, _) in enumerate(jobs) if not payload.eta]  # other fresh noise
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        pixels = []
        for name, draw in ways.items():
            took, images = timed(draw)
            seconds[name].append(took)
            pixels.append(np.asarray([np.asarray(images[n], dtype=np.int16) for n in alike]))
        differ = [int(np.abs(one - pixels[0]).max()) for one in pixels[1:]]
        print(f"pictures differ from the runner's by {differ} of 255", flush=True)
    count = len(jobs)
    print("| drawing | pictures a second | passes a second | the runner's ratio |")
    print("| --- | --- | --- | --- |")
    for name, each in seconds.items():
        ratio = statistics.median(o / m for o, m in zip(each, seconds[RUNNER], strict=True))
        middle = statistics.median(each)
        print(f"| {name} | {count / middle:.2f} | {passes / middle:.0f} | {ratio:.2f} |")


def searching(target: Target, steps: int, rounds: int) -> None:
    """Print the passes a second of a search for words, of all prompts together and one by one."""
    attack = make_attack("prefix", rounds=1, steps=steps)
    noise = torch.randn(4, *target.latent_shape, generator=torch.Generator().manual_seed(0))
    shown = Material(noise, torch.zeros_like(noise), ("an image of a church",) * 4)
    target = replace(target, pictures=shown)
    prompts = list({case.prompt: case for case in target.cases}.values())[:6]
    each = [replace(target, cases=(case,)) for case in prompts]
    ways = {"all prompts in one pass": [replace(target, cases=tuple(prompts))], "one by one": each}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, targets in ways.items():
            took, tries = timed(lambda ts=targets: [t for one in ts for t in attack.run(one)])
            seconds[name].append(took)
            passes = sum(one.cost.forwards + 2 * one.cost.backwards for one in tries)
    print(f"\n| searching, {len(prompts)} prompts | passes a second | ratio |")
    print("| --- | --- | --- |")
    first = seconds["all prompts in one pass"]
    for name, took in seconds.items():
        ratio = statistics.median(o / m for o, m in zip(took, first, strict=True))
        print(f"| {name} | {passes / statistics.median(took):.0f} | {ratio:.2f} |")


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tries", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--search-steps", type=int, default=10)
    options = parser.parse_args()
    tables = {
        "model": "demo",
        "concept": "church",
        "attacks": list(ATTACKS),
        "steps": options.steps,
        "batch_size": options.batch,
        "budget": options.tries,
        "settings": ["eta.etas=[1.0]", "rounding.bits=[8]"],  # batches as full as an audit's
        "device": "cpu",
    }
    recipe = resolve_audit(tables, canvas=True)
    shop = Workshop(recipe, open_lines(recipe), Path(), torch.device("cpu"), Reporter(quiet=True))
    painter, jobs = shop.painter("audited"), jobs_of(shop, options.tries)
    passes = sum(drawing_cost_of(painter, payload).forwards for payload, _ in jobs)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    draw = plain(options.steps, recipe.guidance)
    for once in (together(painter, jobs[:1]), draw(jobs[:1])):
        assert once  # what is loaded at first use is not the drawing's
    ways = {
        RUNNER: lambda: together(painter, jobs),
        "the runner, one try at a time": lambda: apart(painter, jobs),
        "diffusers, one try at a time": lambda: draw(jobs),
    }
    drawing(ways, jobs, passes, options.rounds)
    searching(shop.target("audited", gathered=False), options.search_steps, options.rounds)


if __name__ == "__main__":
    main()
