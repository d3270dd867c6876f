"""What each stage of an erasure holds in memory, in bytes, from shapes and settings alone.

The parts are those of docs/memory.md. What is read from a mapped file is not counted: the system
takes such pages back when it needs them.
"""

# N weights of the main component, s of them selected.

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from torch import Tensor

from erasure.diffusion.precision import Precision
from erasure.diffusion.scores.gradient_sums import in_groups
from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.masks.positions import FEW
from erasure.pass_costs import PassCost
from erasure.training.train_config import TrainConfig

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
    bus: int = 0
    """Bytes that go between main memory and the device."""

    @property
    def device(self) -> int:
        """Bytes on the device, where that has a memory of its own."""
        return sum(part.size for part in self.held if not part.main)

    @property
    def main(self) -> int:
        """Bytes in main memory besides."""
        return sum(part.size for part in self.held if part.main)

    def working(self, passes: int, flops: int, *, half: bool = False, bus: int = 0) -> "Stage":
        """The same with its work."""
        return replace(self, passes=passes, flops=flops, half=half, bus=bus)


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
    """Weights of the largest parameter that the mask names; others have no gradient."""
    largest_stored: int
    """Weights of the largest tensor, named or not, such as a table of places."""
    largest_selected: int
    """Most selected weights of one parameter."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Weights of each parameter that the mask names."""

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
        largest=max((sizes[name] for name in selected), default=0),
        largest_stored=max(sizes.values()),
        largest_selected=max(selected.values(), default=0),
        sizes={name: sizes[name] for name in selected},
    )


def network_parts(
    weights: int, cost: PassCost, each: int, *, stream: bool = False
) -> tuple[Held, ...]:
    """The weights of the network that computes.

    Args:
        weights: N
        each: bytes of one.
        stream: whether its blocks lie in main memory; two of them are then on the device, as one
            may come while the other is not yet gone.
    """
    kind = "bf16" if each == 2 else "fp32"
    if not stream:
        return (Held(f"weights, {kind}", each * weights),)
    return (
        Held(f"weights outside of blocks, {kind}", each * cost.loose),
        Held(f"two blocks, {kind}", 2 * each * cost.block_weights),
        Held(f"blocks, {kind}", each * (weights - cost.loose), main=True),
    )


def mask_stages(
    chosen: Chosen, cost: PassCost, settings: SaliencyConfig, *, samples: int, concepts: int = 1
) -> tuple[Stage, Stage]:
    """Summing gradients, and ranking them once the network is gone.

    Args:
        cost: of a sample's pass.
        settings: where the sums lie, in how many groups, and the type of the weights.
        samples: in one pass; the guided loss takes two of each picture.
        concepts: how many are measured one after the other, and their scores merged.
    """
    each = 2 if settings.precision == "bf16-weights" else 4
    recomputed = settings.checkpointing or settings.stream
    active = activation_bytes(
        cost, settings.precision, samples, chosen.weights, checkpointing=recomputed
    )
    passes = (
        *network_parts(chosen.weights, cost, each, stream=settings.stream),
        *_sums(chosen, settings),
        Held("activations", active),
        Held("one full gradient", each * chosen.largest),
    )
    scores = 4 * chosen.covered
    place = settings.place if settings.groups == 1 else settings.finished_place
    if concepts > 1 and place != "file":
        before = Held("scores of the concepts before, fp32", scores, place != "device")
        passes = (*passes, before)
    ranked = (
        # A file's pages go back to the system; one parameter of it is in memory.
        Held("scores, fp32", 4 * chosen.largest if place == "file" else scores, place != "device"),
        chosen.mask,
    )
    return Stage("find the mask", passes), Stage("rank the weights", ranked)


def _sums(chosen: Chosen, settings: SaliencyConfig) -> tuple[Held, ...]:
    """The sums of gradients: of a group where they are added up, and all where they lie then."""
    if settings.groups == 1:
        if settings.place == "file":
            return ()
        where = settings.place == "main"
        return (Held("summed gradients, fp32", 4 * chosen.covered, main=where),)
    groups = in_groups(chosen.sizes, settings.groups)
    largest = max((sum(chosen.sizes[name] for name in group) for group in groups), default=0)
    part = Held(f"summed gradients of one of {len(groups)} groups, fp32", 4 * largest)
    if settings.mapped:
        return (part,)
    return part, Held("summed gradients of the others, fp32", 4 * chosen.covered, main=True)


def training_stage(
    chosen: Chosen,
    cost: PassCost,
    settings: TrainConfig,
    *,
    samples: int,
    frozen: bool = False,
    checkpointing: bool = False,
    stream: bool = False,
) -> Stage:
    """The steps.

    Args:
        cost: of a sample's pass.
        settings: precision, optimizer and moments are read.
        samples: in one pass with a gradient.
        frozen: whether the base's values of the selected weights are kept.
        stream: whether the network's blocks lie in main memory; they are then recomputed.
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
    active = activation_bytes(
        cost,
        settings.precision,
        samples,
        chosen.weights,
        checkpointing=checkpointing or stream,
    )
    return Stage(
        "train",
        (
            *network_parts(chosen.weights, cost, each, stream=stream),
            *selected,
            Held(PASSING[0], active),
            Held(PASSING[1], each * chosen.largest + 8 * chosen.largest_selected),
        ),
    )


def merging_stage(chosen: Chosen, stored: int, *, each: int = 4, stream: bool = False) -> Stage:
    """The network beside the base, and what is merged of both, a parameter at a time.

    Args:
        stored: bytes of the main component as the checkpoint stores it.
        each: bytes of a weight of the network that was trained.
        stream: whether its blocks lie in main memory.
    """
    held = (
        Held("trained weights", each * chosen.weights, main=stream),
        Held("base, as stored", stored, main=True),
        Held("merged, as stored", stored, main=True),
        chosen.mask,
        Held("copies of one parameter", 5 * 4 * chosen.largest_stored, main=True),
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
