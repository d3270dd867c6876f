"""What `full_size.py` measures on a CPU: the mask, its ranking, a training step, and an edit.

What a row holds in memory is read off the tensors themselves after the measurement.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from measuring import Measured, peak_bytes
from random_models import (
    SAMPLE_PIXELS,
    Shape,
    denoiser_of,
    file_checkpoint,
    random_data,
    random_mask,
    random_network,
    shape_of,
    weights_of,
)
from torch import Tensor, nn

from erasure.checkpoints.expected_weights import expected_weights
from erasure.diffusion.batches import PictureBatch, PictureBatches
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.latents import Draw, noised
from erasure.diffusion.denoiser import Denoiser
from erasure.diffusion.edit import erase as erase_checkpoint
from erasure.diffusion.mask_finding import find_mask
from erasure.diffusion.scores.saliency import (
    SaliencyConfig,
    accumulate_gradients,
    forget_loss,
    saliency_scores,
)
from erasure.masks.masks import salient_mask
from erasure.masks.packed import PackedBits
from erasure.masks.positions import Positions
from erasure.masks.selection import top_fractions
from erasure.memory_bill import PASSING, PROCESS, Stage, chosen_weights, training_stage
from erasure.methods import SalUn
from erasure.pass_costs import network_cost
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from erasure.training.weights.frozen import FrozenDenoiser

CPU = torch.device("cpu")
DENSITIES = (0.1, 0.3, 0.5, 0.7, 0.9)
PICTURES = 2
"""Pictures behind a mask; more would take longer and no more memory."""
STEPS = 2
"""The first makes the moments, the second has them from its first pass on."""
SMALL, FEW_TOKENS = 64, 8
"""Pixels a side and tokens of the first step."""


def mask(chosen: argparse.Namespace) -> Measured:
    """Gradients of two pictures, summed in fp32, and the ranking of all weights."""
    shape = shape_of(chosen.family, chosen.scale)
    network = random_network(shape, torch.float32, CPU).requires_grad_(True)
    total = weights_of(network)
    data = random_data(shape, chosen.pixels, PICTURES)
    config = SaliencyConfig(batch_size=1)
    clock = _clock(chosen)
    begun = clock()
    denoise = shape.architecture.denoiser(network)
    for _ in accumulate_gradients(denoise, data, shape.schedule, config, device=CPU):
        pass
    passes = clock() - begun

    held = {
        "weights, fp32": _bytes(network.parameters()),
        "summed gradients, fp32": _bytes(w.grad for w in network.parameters()),
        "activations of a pass": _saved_by_the_mask(network, data, shape),
    }
    begun = clock()
    scores = saliency_scores(network, dict(network.named_parameters()))
    del network  # as when `erasure.diffusion.scores.measuring.measure_scores` returns
    chosen_mask = salient_mask(scores, chosen.density)
    seconds = passes + clock() - begun
    held["after the weights are gone: mask"] = chosen_mask.bits.nbytes
    note = f"{PICTURES} pictures, {chosen_mask.selected:,} of {total:,}"
    return Measured(seconds, peak_bytes(), note, held)


def mask_from_file(chosen: argparse.Namespace) -> Measured:
    """The same through `find_mask`, which opens and hashes the weights."""
    shape = shape_of(chosen.family, chosen.scale)
    data = random_data(shape, chosen.pixels, PICTURES)
    checkpoint = file_checkpoint(shape, Path(chosen.file))
    clock = _clock(chosen)
    begun = clock()
    chosen_mask = find_mask(
        checkpoint, data, density=chosen.density, config=SaliencyConfig(batch_size=1)
    )
    seconds = clock() - begun
    return Measured(
        seconds, peak_bytes(), f"{PICTURES} pictures, {chosen_mask.selected:,} selected"
    )


def rank(chosen: argparse.Namespace) -> Measured:
    """Random scores of a UNet's shapes, one density."""
    return _rank(chosen, [chosen.density])


def rank_often(chosen: argparse.Namespace) -> Measured:
    """The same, several densities from the same passes over the scores."""
    return _rank(chosen, DENSITIES)


def _rank(chosen: argparse.Namespace, densities: Iterable[float]) -> Measured:
    shape = shape_of(chosen.family, chosen.scale)
    draw = torch.Generator().manual_seed(0)
    main = shape.architecture.main_part
    scores = {
        name: torch.rand(weight.shape, generator=draw)
        for name, weight in expected_weights(main, shape.config).items()
    }
    clock = _clock(chosen)
    begun = clock()
    masks = top_fractions(scores, list(densities))
    seconds = clock() - begun
    held = {
        "scores, fp32": _bytes(scores.values()),
        "masks": sum(one.nbytes for one in masks),
    }
    weights = sum(score.numel() for score in scores.values())
    note = f"{weights:,} weights at {', '.join(map(str, densities))}"
    return Measured(seconds, peak_bytes(), note, held)


@dataclass
class WarmFirst:
    """A batch source whose first step is of small latents and few tokens: it makes the moments, so
    that the step after it holds all that a step holds."""

    small: PictureBatches
    true: PictureBatches
    batch_size: int
    warm: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the latents that came last: what is computed anew must be computed alike."""
        return (self.true if self.warm else self.small).shape

    def at(
        self, position: int, count: int, student: Denoiser, frozen: FrozenDenoiser, /
    ) -> PictureBatch:
        """As many forget as retain samples."""
        self.warm = position >= self.batch_size
        source = self.true if self.warm else self.small
        return source.at(position, count, student, frozen)


def step(chosen: argparse.Namespace) -> Measured:
    """A training step with the network's weights in bf16; the mask stays in memory."""
    shape = shape_of(chosen.family, chosen.scale, chosen.blocks)
    network = random_network(shape, torch.bfloat16, CPU)
    selected = random_mask(network, chosen.density)
    data, small = random_data(shape, chosen.pixels), random_data(shape, SMALL)
    few = small.prompts.having(tokens=small.prompts.tokens[:, :FEW_TOKENS])
    trainer = MaskedTrainer(
        network,
        lambda other: denoiser_of(shape, other, recomputed=chosen.checkpointing),
        WarmFirst(
            PictureBatches(replace(small, prompts=few), shape.schedule, 0, CPU),
            PictureBatches(data, shape.schedule, 0, CPU),
            chosen.batch_size,
        ),
        selected,
        objective=SalUn(),
        config=_training(chosen, STEPS),
    )
    steps, clock = trainer.steps(), _clock(chosen)
    next(steps)
    begun = clock()
    next(steps)
    seconds, peak = clock() - begun, peak_bytes()
    vectors = list(trainer.selected.vectors.values())
    held = {
        "weights, bf16": _bytes(network.state_dict().values()),
        "masters of the selected, fp32": _bytes(vectors),
        "moments": _bytes(
            value
            for state in trainer.optimizer.state.values()
            for value in state.values()
            if isinstance(value, Tensor)
        ),
        "selected gradients, fp32": _bytes(vector.grad for vector in vectors),
        "their positions": _bytes(Positions.of(m, CPU).places for m in selected.values()),
        "the mask": selected.nbytes,
    }
    how = f"{chosen.optimizer}, {chosen.moments} moments"
    how += ", checkpointing" if chosen.checkpointing else ""
    how += f", {chosen.blocks} blocks" if chosen.blocks is not None else ""
    note = f"a step of {chosen.batch_size} at {chosen.pixels} px, {how}, density {chosen.density:g}"
    bill = _step_bill(chosen, shape, network, selected)
    held |= {f"billed for {part.what}": part.size for part in bill.held if part.what in PASSING}
    billed = bill.device + bill.main + PROCESS
    return Measured(seconds, peak, note, held, billed=billed)


def _step_bill(
    chosen: argparse.Namespace, shape: Shape, network: nn.Module, selected: PackedBits
) -> Stage:
    """What `--dry-run` says that a step of this mask holds."""
    counts = {name: int(mask.sum()) for name, mask in selected.items()}
    side = chosen.pixels // SAMPLE_PIXELS
    training = _training(chosen, STEPS)
    return training_stage(
        chosen_weights(network.state_dict(), counts),
        network_cost(shape.architecture, shape.config, (side, side)),
        training,
        samples=2 * (training.micro_batch or training.batch_size),
        checkpointing=chosen.checkpointing,
    )


def erase_from_file(chosen: argparse.Namespace) -> Measured:
    """A run of one step through `erase`, with its proof that nothing else moved."""
    shape = shape_of(chosen.family, chosen.scale)
    data = random_data(shape, chosen.pixels)
    checkpoint = file_checkpoint(shape, Path(chosen.file))
    selected = find_mask(checkpoint, data, "random", density=chosen.density)
    clock = _clock(chosen)
    begun = clock()
    edit = erase_checkpoint(checkpoint, data, selected, _training(chosen, 1))
    seconds = clock() - begun
    return Measured(seconds, peak_bytes(), f"1 step, {edit.provenance.last.moved:,} moved")


CPU_JOBS: dict[str, Callable[[argparse.Namespace], Measured]] = {
    "mask": mask,
    "mask from a file": mask_from_file,
    "rank": rank,
    "rank at 5 densities": rank_often,
    "step": step,
    "erase from a file": erase_from_file,
}


def saved_bytes(run: Callable[[], Tensor], weights: Iterable[Tensor]) -> int:
    """Bytes that the backward pass of `run` needs, besides the weights; each storage once."""
    known = {weight.untyped_storage().data_ptr() for weight in weights}
    storages: dict[int, int] = {}

    def note(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = storage.nbytes()
        return value.detach()  # the value itself would never be freed where it is an output

    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        result = run()  # held until all is counted, so that no address is used again
    del result
    return sum(storages.values())


def _saved_by_the_mask(network: nn.Module, data: ConceptData, shape: Shape) -> int:
    """Bytes saved by a pass of one picture, which is two samples: with its prompt and without."""
    batch = noised(data.forget, data.prompts, shape.schedule, [Draw(0, ("bill",))])
    denoise = shape.architecture.denoiser(network)
    empty = data.prompts[torch.zeros(1, dtype=torch.int64)]

    def loss() -> Tensor:
        return forget_loss(denoise, batch, empty, SaliencyConfig())

    return saved_bytes(loss, network.parameters())


def _training(chosen: argparse.Namespace, steps: int) -> TrainConfig:
    return TrainConfig(
        steps=steps,
        batch_size=chosen.batch_size,
        micro_batch=min(chosen.micro_batch, chosen.batch_size),
        optimizer=chosen.optimizer,
        moments=chosen.moments,
        precision="bf16-weights",
    )


def _bytes(tensors: Iterable[Tensor | None]) -> int:
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _clock(chosen: argparse.Namespace) -> Callable[[], float]:
    return time.process_time if chosen.clock == "cpu" else time.perf_counter
