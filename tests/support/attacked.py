"""A target of random weights that attacks run on in a moment."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from erasure.architectures.building import build_parts
from erasure.attacks import Budget, Case, Concept, Material, Payload, Target, Wording
from erasure.attacks.opening import parts_of
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.reading.reading import read_checkpoint
from support.tiny import CPU, random_pictures, write_tiny_pipeline

SIDE = 16
"""Pixels of a picture."""


def tiny_checkpoint(folder: Path) -> Checkpoint:
    return read_checkpoint(write_tiny_pipeline(folder / "model"))


def no_drawing(payloads: list[Payload], seeds: list[int]) -> Tensor:
    raise AssertionError("this attack must not draw while it searches")


def tiny_target(checkpoint: Checkpoint, **own: Any) -> Target:  # noqa: ANN401
    """Make a target named `audited`, with three cases and four pictures of each kind.

    Its base is the checkpoint itself.
    """
    parts = parts_of(build_parts(checkpoint, torch.float32, CPU), checkpoint, (SIDE, SIDE))
    fields: dict[str, Any] = {
        **parts.fields(),
        "name": "audited",
        "size": (SIDE, SIDE),
        "concept": Concept(
            name="church",
            prompts=("a church", "a photo of a church"),
            wordings=(Wording("typo", "a chruch"), Wording("synonym", "a chapel", held_out=True)),
            pairs=(("a church", "an image"),),
            replacement="a castle",
            others=("a dog", "a horn"),
        ),
        "cases": tuple(Case(f"case-{n}", "a church", n) for n in range(3)),
        "budget": Budget(draws=100),
        "seed": 0,
        "device": CPU,
        "steps": 4,
        "guidance": 2.0,
        "draw": no_drawing,
        "pictures": material(parts.codec, ["a church"] * 4, 1),
        "other_pictures": material(parts.codec, ["a dog", "a horn"] * 2, 2),
    }
    target = Target(**{**fields, **own})
    return target if "base" in own else Target(**{**_fields_of(target), "base": target})


def material(codec: Any, prompts: list[str], seed: int) -> Material:  # noqa: ANN401
    pictures = random_pictures(prompts, seed, SIDE)
    mean, std = codec.encode(pictures.pixels.float() / 127.5 - 1)
    return Material(mean, std, tuple(prompts))


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _fields_of(target: Target) -> dict[str, Any]:
    return {name: getattr(target, name) for name in target.__dataclass_fields__}
