"""Seconds of one training step: ours against a straight-line writing of the released structure.

    python benchmarks/step_time.py --steps 5 --rounds 5 --parts

The straight line is what the paper's release does in a step: the same pictures and prompts pass
the VAE and the text encoder three times, the pass for the replacement keeps its graph, everything
is fp32, a dense int64 mask is multiplied onto all gradients, and Adam walks over all weights. Its
pause of 0.1 s is left out, and its recomputing of activations is a row of its own.

All ways see the same samples (streams as in `erasure.training.trainer`), so they must move the
weights alike: the table says how far apart they end. They take turns in one process, and a ratio
is that of one round; the median is shown. With `--parts` the changes are made to the straight line
one after the other; `--tried` adds what did not pay. A ratio against the row that recomputes is
shown too where there is one.
"""

import argparse
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from erasure.diffusion.batches import PictureBatches

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from random_models import random_checkpoint, shape_of
from released_step import FORGET, INSTEAD, KEEP, PICTURES, SEED, Line, StraightLine, Work

from erasure.architectures.building import build_network, own_size, schedule_of
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptedPixels
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.precision import Precision
from erasure.methods import SalUn
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from pipelines.run.models import DEMO_FOLDER


@dataclass(frozen=True)
class Variant:
    """What is tried on ours."""

    precision: Precision = "fp32"
    rounded_products: bool = False
    """oneDNN rounds to bf16 what it multiplies; all that is read and written is float32."""
    attention: Literal["own", "fused", "diffusers"] = "own"
    """As the trainer has it, torch's fused kernel in all passes, or diffusers' plain one."""
    channels_last: bool = False
    pointwise: bool = False
    """Convolutions of one place as matrix products; only with `channels_last`."""
    compiled: bool = False


class Ours:
    """Steps of the trainer."""

    def __init__(self, work: Work, variant: Variant) -> None:
        self.work, self.variant = work, variant
        self.unet = build_network(work.checkpoint).to(work.device)
        if variant.channels_last:
            self.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if variant.attention == "diffusers":
            from diffusers.models.attention_processor import AttnProcessor

            self.unet.set_attn_processor(AttnProcessor())  # type: ignore[operator]
        if variant.pointwise:
            make_pointwise(self.unet)
        self.trainer = MaskedTrainer(
            self.unet,
            self._wrap,
            PictureBatches(
                work.data,
                schedule_of(work.checkpoint),
                work.config.seed,
                work.device,
            ),
            work.mask,
            objective=SalUn(alpha=1.0),
            config=replace(work.config, steps=10**6, precision=variant.precision),
        )
        self.steps = self.trainer.steps()

    def _wrap(self, network: nn.Module) -> Denoiser:
        called: Any = torch.compile(network) if self.variant.compiled else network
        denoise = self.work.checkpoint.architecture.denoiser(called)
        if self.variant.attention != "fused":
            return denoise

        def fused(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
            with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
                return denoise(x_t, t, condition)

        return fused

    def __call__(self, index: int) -> float:
        """Take the next step, which is step `index`."""
        with products_in("bf16" if self.variant.rounded_products else "ieee"):
            step = next(self.steps)
        assert step.index == index + 1
        return step.loss

    def trained(self) -> Mapping[str, Tensor]:
        """The weights, by name; no step may follow."""
        return self.trainer.trained()


@contextmanager
def products_in(kind: str) -> Iterator[None]:
    """Let oneDNN compute the products of float32 tensors so; torch before 2.9 has no such choice.

    Raises:
        SystemExit: this torch cannot.
    """
    parts = [getattr(torch.backends.mkldnn, name, None) for name in ("conv", "matmul")]
    if not all(hasattr(part, "fp32_precision") for part in parts):
        if kind == "ieee":
            yield
            return
        raise SystemExit(f"torch {torch.__version__} cannot round products; take torch 2.9 or more")
    before = [part.fp32_precision for part in parts]  # type: ignore[union-attr]
    try:
        for part in parts:
            part.fp32_precision = kind  # type: ignore[union-attr]
        yield
    finally:
        for part, old in zip(parts, before, strict=True):
            part.fp32_precision = old  # type: ignore[union-attr]


def make_pointwise(network: nn.Module) -> None:
    """Compute convolutions of one place as matrix products of the same weights."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            module.forward = partial(_pointwise, module)  # type: ignore[method-assign]


def _pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    flat = conv.weight.flatten(1)  # (C out, C in)
    return F.linear(x.permute(0, 2, 3, 1), flat, conv.bias).permute(0, 3, 1, 2)


RELEASED, RECOMPUTING = "as released", "as released, recomputing"
PARTS = {
    RECOMPUTING: Line(recomputed=True),
    "+ encoded once": Line(cached=True),
    "+ replacement without graph": Line(cached=True, detached=True),
    "+ one pass for both losses": Line(cached=True, detached=True, joined=True),
    "+ resident bool mask": Line(cached=True, detached=True, joined=True, resident=True),
    "+ fused Adam": Line(cached=True, detached=True, joined=True, resident=True, fused=True),
}
OURS = {
    "ours": Variant(),
    "ours, bf16": Variant(precision="bf16"),
    "ours, bf16-weights": Variant(precision="bf16-weights"),
}
TRIED = {
    "ours, channels last": Variant(channels_last=True),
    "ours, products rounded by oneDNN": Variant(rounded_products=True),
    "ours, bf16, fused attention": Variant(precision="bf16", attention="fused"),
    "ours, bf16, diffusers' plain attention": Variant(precision="bf16", attention="diffusers"),
    "ours, bf16-weights, diffusers' plain attention": Variant(
        precision="bf16-weights", attention="diffusers"
    ),
    "ours, bf16-weights, channels last, 1x1 as products": Variant(
        precision="bf16-weights", channels_last=True, pointwise=True
    ),
}


def ways_of(work: Work, chosen: argparse.Namespace) -> dict[str, StraightLine | Ours]:
    """Name -> steps, the released structure first."""
    ways: dict[str, StraightLine | Ours] = {RELEASED: StraightLine(work, Line())}
    if chosen.parts:
        ways |= {name: StraightLine(work, line) for name, line in PARTS.items()}
    variants = OURS | (TRIED if chosen.tried else {})
    ways |= {name: Ours(work, variant) for name, variant in variants.items()}
    if chosen.compile:
        ways |= {
            f"{name}, compiled": Ours(work, replace(variant, compiled=True))
            for name, variant in OURS.items()
        }
    return ways


def prepared(checkpoint: Checkpoint, pixels: int, batch: int, device: torch.device) -> Work:
    """Random pictures, encoded once, and a random mask of half the weights."""
    draw = torch.Generator().manual_seed(SEED)
    shape = (2 * PICTURES, 3, pixels, pixels)
    pictures = torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8)
    data = encode_concept(
        checkpoint,
        PromptedPixels(pictures[:PICTURES], [FORGET] * PICTURES),
        {FORGET: [INSTEAD]},
        PromptedPixels(pictures[PICTURES:], [KEEP] * PICTURES),
        device=device,
    )
    mask = {n: torch.rand(w.shape, generator=draw) < 0.5 for n, w in checkpoint.network.items()}
    config = TrainConfig(batch_size=batch, learning_rate=1e-5, seed=SEED)
    return Work(checkpoint, pictures, data, mask, config, device)


def measure(
    ways: dict[str, StraightLine | Ours], steps: int, rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds a step by way, one value a round; the ways take turns."""
    for step in ways.values():
        step(0)  # What is made at first use is not a step's.
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, step in ways.items():
            begun = clock()
            for index in range(1 + number * steps, 1 + (number + 1) * steps):
                step(index)
            seconds[way].append((clock() - begun) / steps)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return seconds


def apart(work: Work, way: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Distance of two updates of the selected weights over the length of the second."""
    square = length = 0.0
    for name, base in work.checkpoint.network.items():
        chosen = work.mask[name]
        mine, theirs = ((end[name].detach().cpu() - base.float())[chosen] for end in (way, other))
        square += float((mine - theirs).square().sum())
        length += float(theirs.square().sum())
    return math.sqrt(square / length)


def markdown(seconds: dict[str, list[float]], distances: dict[str, float], about: str) -> str:
    """The table: medians of the rounds; a ratio is taken round by round."""
    bases = [base for base in (RELEASED, RECOMPUTING) if base in seconds]
    heads = ["way", "seconds a step", *(f"against {base!r}" for base in bases), "update apart"]
    lines = [about, "", f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for way, each in seconds.items():
        cells = [way, f"{statistics.median(each):.3f}"]
        for base in bases:
            ratio = statistics.median(a / b for a, b in zip(seconds[base], each, strict=True))
            cells.append(f"{ratio:.2f}")
        lines.append(f"| {' | '.join([*cells, f'{distances[way]:.1e}'])} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5, help="a way and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--model", type=Path, default=DEMO_FOLDER, help="a diffusers folder")
    parser.add_argument("--random", help="random weights of a family instead: sd1 or sd2")
    parser.add_argument("--scale", choices=("half", "full"), default="full")
    parser.add_argument("--pixels", type=int, help="a side; the model's own if none")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--parts", action="store_true", help="also the changes one by one")
    parser.add_argument("--tried", action="store_true", help="also what was not kept")
    parser.add_argument("--compile", action="store_true", help="also ours compiled; takes minutes")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.random:
        checkpoint = random_checkpoint(shape_of(chosen.random, chosen.scale))
    else:
        checkpoint = read_checkpoint(chosen.model)
    pixels = chosen.pixels or own_size(checkpoint)[0]
    work = prepared(checkpoint, pixels, chosen.batch_size, chosen.device)
    ways = ways_of(work, chosen)
    seconds = measure(ways, chosen.steps, chosen.rounds, _clock(chosen))
    distances = {
        way: apart(work, each.trained(), ways[RELEASED].trained()) for way, each in ways.items()
    }
    print(markdown(seconds, distances, _about(chosen, pixels)))


def _clock(chosen: argparse.Namespace) -> Callable[[], float]:
    if chosen.clock == "cpu":
        return time.process_time

    def wall() -> float:
        if chosen.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    return wall


def _about(chosen: argparse.Namespace, pixels: int) -> str:
    machine = f"{platform.machine()}, {chosen.threads} threads"
    if chosen.device.type == "cuda":
        machine = torch.cuda.get_device_name(chosen.device)
    how = f"batch {chosen.batch_size}, {pixels} px, {chosen.clock} time, medians of rounds"
    return f"`python {' '.join(sys.argv)}` ({machine}, torch {torch.__version__}); {how}"


if __name__ == "__main__":
    main()
