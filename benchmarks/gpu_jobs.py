"""What `full_size.py --gpu` measures: SalUn from the first gradient to the last step, steps of
larger models, a step against the released structure, and the passes of an audit.

Peak memory is what the device had in use at the end of a phase, with CUDA's own share: torch gives
nothing back within a phase, so that is the most. Nobody else may use the device meanwhile.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from measuring import Measured, peak_bytes
from random_models import (
    Shape,
    denoiser_of,
    meta_network,
    random_checkpoint,
    random_data,
    random_mask,
    random_network,
    shape_of,
)
from torch import Tensor, nn

from erasure.diffusion.batches import PictureBatches
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.scores.saliency import SaliencyConfig, accumulate_gradients, saliency_scores
from erasure.masks.masks import salient_mask
from erasure.methods import SalUn
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer

LIMITS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}
"""bf16 operations a second without sparsity, from the makers' data sheets; first match counts."""
PICTURES = 8
"""In a batch of the mask."""
XL_STEPS = 10
WARM = 2
"""Steps before the clock starts in short measurements."""
ROUNDS, STEPS_EACH = 3, 3
"""How often, and how many steps at a time, a step is held against the released structure."""
SAMPLING_STEPS, SEARCHED = 50, 8
"""Steps of a drawing of an audit, and samples of a step of its search for a vector."""


def mask_and_training(chosen: argparse.Namespace) -> Measured:
    """The paper's class forgetting: mask batches of 8 pictures, then steps of 8 and 8."""
    where, shape = torch.device(chosen.device), shape_of(chosen.family, chosen.scale)
    data = random_data(shape, chosen.pixels, PICTURES)
    begun = _now(where)
    mask, mask_peak = _find_mask(chosen, shape, data)
    masked = _now(where)
    taken, step_peak = _train(chosen, shape, data, mask, chosen.steps)
    ended = _now(where)
    single = forward_flops(shape, chosen.pixels)
    operations = single * (
        chosen.mask_batches * PICTURES * 2 * 3 + taken * chosen.batch_size * (2 * 3 + 1)
    )
    note = (
        f"mask {masked - begun:.0f} s in {mask_peak / 1e9:.2f} GB, "
        f"{taken} steps {ended - masked:.0f} s in {step_peak / 1e9:.2f} GB, "
        f"{_share(operations / (ended - begun), where)}"
    )
    return Measured(ended - begun, max(mask_peak, step_peak), note)


def step(chosen: argparse.Namespace) -> Measured:
    """A few training steps; the mask is random, as finding one is not measured here."""
    where, shape = torch.device(chosen.device), shape_of(chosen.family, chosen.scale)
    data = random_data(shape, chosen.pixels, PICTURES)
    mask = random_mask(meta_network(shape), chosen.density, device=where)
    _release(where)
    times: list[float] = []
    count = min(chosen.steps, XL_STEPS) + WARM
    _, peak = _train(chosen, shape, data, mask, count, times)
    each = (times[-1] - times[WARM - 1]) / (len(times) - WARM)
    operations = forward_flops(shape, chosen.pixels) * chosen.batch_size * (2 * 3 + 1)
    return Measured(
        each, peak, f"a step of {chosen.batch_size}, {_share(operations / each, where)}"
    )


def against_released(chosen: argparse.Namespace) -> Measured:
    """A step of ours with bf16 weights, and one of the released structure, in turn."""
    from released_step import Line, StraightLine
    from step_time import OURS, RELEASED, Ours, measure, prepared

    from erasure.checkpoints.reading.reading import read_checkpoint
    from pipelines.run.models import DEMO_FOLDER

    where = torch.device(chosen.device)
    if chosen.scale == "tiny":  # a text encoder is as wide as it is published, so another model
        checkpoint = read_checkpoint(DEMO_FOLDER)
    else:
        checkpoint = random_checkpoint(shape_of(chosen.family, chosen.scale))
    work = prepared(checkpoint, chosen.pixels, chosen.batch_size, where)
    best = "ours, bf16-weights"
    ways = {RELEASED: StraightLine(work, Line()), best: Ours(work, OURS[best])}
    rounds, steps = (ROUNDS, STEPS_EACH) if chosen.scale != "tiny" else (1, 1)
    seconds = measure(ways, steps, rounds, lambda: _now(where))
    faster = statistics.median(
        theirs / ours for theirs, ours in zip(seconds[RELEASED], seconds[best], strict=True)
    )
    each = statistics.median(seconds[best])
    released = statistics.median(seconds[RELEASED])
    note = f"a step of {chosen.batch_size}; the released structure {released:.3f} s"
    return Measured(each, _used(where), note, faster=faster)


def audit_passes(chosen: argparse.Namespace) -> Measured:
    """What `erasure audit` takes: the drawing of a batch of guided pictures, and passes with
    gradients to what the model is told, as its searches take them; in float32, as it draws."""
    where, shape = torch.device(chosen.device), shape_of(chosen.family, chosen.scale)
    data = random_data(shape, chosen.pixels, 1)
    denoise = denoiser_of(shape, random_network(shape, torch.float32, where))
    each = {}
    for searched, count in ((False, 2 * chosen.batch_size), (True, SEARCHED)):
        x_t = data.forget.mean.repeat(count, 1, 1, 1).to(where)
        t = torch.full((count,), 500, device=where)
        condition = data.prompts[torch.zeros(count, dtype=torch.int64)].to(where, torch.float32)
        learned = Condition(
            {
                name: value.clone().requires_grad_(searched)
                for name, value in condition.tensors.items()
            }
        )
        seconds = []
        for _ in range(WARM + ROUNDS):
            begun = _now(where)
            with torch.set_grad_enabled(searched):
                loss = denoise(x_t, t, learned).square().mean()
                if searched:
                    loss.backward()  # type: ignore[no-untyped-call]
            seconds.append(_now(where) - begun)
        each[searched] = min(seconds[WARM:])
    drawn = SAMPLING_STEPS * each[False] / chosen.batch_size
    note = (
        f"a picture of {SAMPLING_STEPS} steps with guidance, {chosen.batch_size} at a time, so "
        f"{2 * chosen.batch_size / each[False]:.0f} passes a second; a step of a search by "
        f"{SEARCHED} samples {each[True]:.3f} s"
    )
    return Measured(drawn, _used(where), note)


def _in_bf16(denoise: Denoiser, where: torch.device) -> Denoiser:
    """The same network, its passes in bf16."""

    def rounded(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        with torch.autocast(where.type, torch.bfloat16, cache_enabled=False):
            return denoise(x_t, t, condition)

    return rounded


def _find_mask(
    chosen: argparse.Namespace, shape: Shape, data: ConceptData
) -> tuple[Mapping[str, Tensor], int]:
    """The mask, on the CPU, and the peak; weights and sums in fp32, passes in bf16."""
    where = torch.device(chosen.device)
    network = random_network(shape, torch.float32, where).requires_grad_(True)
    config = SaliencyConfig(draws=chosen.mask_batches, batch_size=chosen.micro_batch)
    denoise = _in_bf16(_wrapped(network, shape, chosen), where)
    passes = accumulate_gradients(denoise, data, shape.schedule, config, device=where)
    for _ in passes:
        pass
    scores = saliency_scores(network, dict(network.named_parameters()))
    del network, denoise, passes
    mask = salient_mask(scores, chosen.density).entries
    peak = _used(where)
    del scores
    _release(where)
    return mask, peak


def _train(
    chosen: argparse.Namespace,
    shape: Shape,
    data: ConceptData,
    mask: Mapping[str, Tensor],
    steps: int,
    times: list[float] | None = None,
) -> tuple[int, int]:
    """Steps taken, and the peak; the network's weights are bf16, the trained ones' masters fp32."""
    where = torch.device(chosen.device)
    network = random_network(shape, torch.bfloat16, where)
    trainer = MaskedTrainer(
        network,
        lambda other: _wrapped(other, shape, chosen),
        PictureBatches(data, shape.schedule, 0, where),
        mask,
        objective=SalUn(),
        config=TrainConfig(
            steps=steps,
            batch_size=chosen.batch_size,
            micro_batch=min(chosen.micro_batch, chosen.batch_size),
            optimizer=chosen.optimizer,
            moments=chosen.moments,
            precision="bf16-weights",
        ),
    )
    for taken in trainer.steps():
        last = taken
        if times is not None:
            times.append(_now(where))
    peak = _used(where)
    del trainer, network
    _release(where)
    return last.index, peak


def _wrapped(network: nn.Module, shape: Shape, chosen: argparse.Namespace) -> Denoiser:
    called: Any = torch.compile(network) if chosen.compile else network
    return denoiser_of(shape, called, recomputed=chosen.checkpointing)


def forward_flops(shape: Shape, pixels: int) -> float:
    """Operations of one sample's pass without gradient, counted on the meta device; a backward
    pass takes twice as many, and activations computed again are not counted."""
    from torch.utils.flop_counter import FlopCounterMode

    denoise = shape.architecture.denoiser(meta_network(shape))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        denoise(*shape.sample(pixels))
    return float(counter.get_total_flops())


def _share(rate: float, where: torch.device) -> str:
    """The rate of operations, and what part of the device's limit that is."""
    speed = f"{rate / 1e12:.1f} TFLOP/s"
    if where.type != "cuda":
        return speed
    name = torch.cuda.get_device_name(where)
    measured = matmul_rate(where)
    sheet = next((limit for chip, limit in LIMITS.items() if chip in name), None)
    shares = [f"{100 * (rate / measured):.0f} % of a large bf16 product here"]
    if sheet is not None:
        shares.insert(0, f"{100 * (rate / sheet):.0f} % of the data sheet's bf16 limit")
    return f"{speed}, {', '.join(shares)}"


def matmul_rate(where: torch.device, size: int = 8192, repeats: int = 20) -> float:
    """Operations a second of a bf16 matrix product."""
    one = torch.randn(size, size, dtype=torch.bfloat16, device=where)
    for _ in range(3):
        one @ one
    begun = _now(where)
    for _ in range(repeats):
        one @ one
    return 2 * size**3 * repeats / (_now(where) - begun)


def _now(where: torch.device) -> float:
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    return time.perf_counter()


def _used(where: torch.device) -> int:
    """Bytes in use on the device; of the process where that is the CPU."""
    if where.type != "cuda":
        return peak_bytes()
    free, total = torch.cuda.mem_get_info(where)
    return total - free


def _release(where: torch.device) -> None:
    gc.collect()
    if where.type == "cuda":
        torch.cuda.empty_cache()


GPU_JOBS: dict[str, Callable[[argparse.Namespace], Measured]] = {
    "gpu mask and training": mask_and_training,
    "gpu step": step,
    "gpu step against released": against_released,
    "gpu audit": audit_passes,
}
