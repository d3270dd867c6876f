"""What each stage of an erasure holds in memory, in bytes, from shapes and settings alone.

The parts are those of docs/memory.md. What is read from a mapped file is not counted: the system
takes such pages back when it needs them.
"""

# N weights of the main component, s of them selected.

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from erasure.diffusion.precision import Precision
from erasure.masks.positions import FEW
from erasure.pass_costs import PassCost
from erasure.training.trainer import TrainConfig

PROCESS: Final = 500_000_000
"""Bytes of Python, torch and diffusers themselves, as docs/full-size.md has them; a CUDA device
holds about as much for its context and the libraries' work space."""
PASSING: Final = ("activations", "one full gradient and its places")
"""What a training holds during a step alone, and not between two steps."""


@dataclass(frozen=True, slots=True)
class Held:
    """One thing in memory during a stage."""

    what: str
    size: int
    """Bytes."""
    main: bool = False
    """Whether it lies in main memory, whatever the device."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a run that holds all of this at one time, at most."""

    name: str
    held: tuple[Held, ...]
    passes: int = 0
    """Samples or pictures through a network, forward passes and backward passes together."""
    flops: int = 0
    half: bool = False
    """Whether products are of bf16."""

    @property
    def device(self) -> int:
        """Bytes on the device, where that has a memory of its own."""
        return sum(part.size for part in self.held if not part.main)

    @property
    def main(self) -> int:
        """Bytes in main memory besides."""
        return sum(part.size for part in self.held if part.main)

    def working(self, passes: int, flops: int, *, half: bool = False) -> "Stage":
        """The same with its work."""
        return replace(self, passes=passes, flops=flops, half=half)


@dataclass(frozen=True, slots=True)
class Chosen:
    """How many weights a mask covers and frees."""

    weights: int
    """N"""
    covered: int
    """Weights in the parameters that the mask names."""
    selected: int
    """s"""
    positions: int
    """Bytes of `erasure.masks.positions.Positions`."""
    largest: int
    """Weights of the largest parameter."""
    largest_selected: int
    """Most selected weights of one parameter."""

    @property
    def mask(self) -> "Held":
        """The mask: a bit a weight that it covers, in main memory."""
        return Held("mask", -(-self.covered // 8), main=True)


def chosen_weights(network: Mapping[str, Tensor], selected: Mapping[str, int]) -> Chosen:
    """Count what a mask chooses.

    Args:
        network: every weight by name; only shapes are read.
        selected: parameter that the mask names -> how many of its weights are free.
    """
    sizes = {name: weight.numel() for name, weight in network.items()}
    positions = 0
    for name, count in selected.items():
        bits = count > FEW and 32 * count > sizes[name]  # as `Positions.of` chooses
        positions += -(-sizes[name] // 8) if bits else 4 * count
    return Chosen(
        weights=sum(sizes.values()),
        covered=sum(sizes[name] for name in selected),
        selected=sum(selected.values()),
        positions=positions,
        largest=max(sizes.values()),
        largest_selected=max(selected.values(), default=0),
    )


def mask_stages(
    chosen: Chosen, cost: PassCost, *, samples: int, offload: bool = False
) -> tuple[Stage, Stage]:
    """Summing gradients, and ranking them once the network is gone.

    Args:
        cost: of a sample's pass.
        samples: in one pass; the guided loss takes two of each picture.
        offload: whether the sums lie in main memory.
    """
    summed = Held("summed gradients, fp32", 4 * chosen.covered, main=offload)
    gradients = Stage(
        "find the mask",
        (
            Held("weights, fp32", 4 * chosen.weights),
            summed,
            Held("activations", samples * cost.saved),
            Held("one full gradient", 4 * chosen.largest),
        ),
    )
    ranked = (replace(summed, what="scores, fp32"), chosen.mask)
    return gradients, Stage("rank the weights", ranked)


def training_stages(
    chosen: Chosen,
    cost: PassCost,
    settings: TrainConfig,
    *,
    samples: int,
    frozen: bool = False,
    checkpointing: bool = False,
) -> tuple[Stage, ...]:
    """The steps, and for `bf16-weights` their end, when the network is widened again.

    Args:
        cost: of a sample's pass.
        settings: precision, optimizer and moments are read.
        samples: in one pass with a gradient.
        frozen: whether the base's values of the selected weights are kept.
    """
    each = 2 if settings.precision == "bf16-weights" else 4
    selected = (
        Held("masters of the selected, fp32", 4 * chosen.selected),
        Held(f"moments, {settings.moments}", moment_bytes(settings, chosen.selected)),
        Held("gradients of the selected, fp32", 4 * chosen.selected),
        Held("their positions", chosen.positions),
        Held("base values of the selected", 4 * chosen.selected if frozen else 0),
        chosen.mask,
    )
    kind = "bf16" if each == 2 else "fp32"
    steps = Stage(
        "train",
        (
            Held(f"weights, {kind}", each * chosen.weights),
            *selected,
            Held(
                PASSING[0],
                activation_bytes(
                    cost, settings.precision, samples, chosen.weights, checkpointing=checkpointing
                ),
            ),
            Held(
                PASSING[1],
                each * chosen.largest + 8 * chosen.largest_selected,
            ),
        ),
    )
    if each == 4:
        return (steps,)
    widened = Stage("end of training", (Held("weights, fp32", 4 * chosen.weights), *selected))
    return steps, widened


def merging_stage(chosen: Chosen, stored: int) -> Stage:
    """The new values beside the base, and the merged network; all in main memory.

    Args:
        stored: bytes of the main component as the checkpoint stores it.
    """
    held = (
        Held("trained weights, fp32", 4 * chosen.weights, main=True),
        Held("base, as stored", stored, main=True),
        Held("merged, as stored", stored, main=True),
        chosen.mask,
        Held("copies of one parameter", 5 * 4 * chosen.largest, main=True),
    )
    return Stage("check and merge", held)


def moment_bytes(settings: TrainConfig, selected: int) -> int:
    """Bytes that the optimiser remembers of the selected weights."""
    moments = 2 if settings.optimizer != "sgd" else int(settings.momentum > 0)
    if settings.moments == "8bit":
        return moments * (selected + selected // 64)  # and 4 bytes for each block of 256
    return moments * 4 * selected


def activation_bytes(
    cost: PassCost, precision: Precision, samples: int, weights: int, *, checkpointing: bool
) -> int:
    """What passes of `samples` keep for their backward pass.

    With `bf16` the weights stay float32, and every layer keeps the rounded copy of its own that it
    made for the product: 2 bytes a weight, under checkpointing those of one block alone.
    """
    saved = cost.checkpointed + cost.block if checkpointing else cost.saved
    size = samples * max(saved, cost.live)
    if precision == "fp32":
        return size
    copied = cost.loose + cost.block_weights if checkpointing else weights
    return size // 2 + (2 * copied if precision == "bf16" else 0)
