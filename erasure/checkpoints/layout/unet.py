"""UNet: `down_blocks.i.resnets.j...` <-> `input_blocks.n.0...`, any number of blocks and layers.

The original numbers its layers straight through, so a name depends on how many layers stand before
it. That structure is read from the names themselves; no configuration is needed. Inside an
attention both layouts use the same names, and no value changes shape.

Source: the state dicts of CompVis/stable-diffusion 21f890f and Stability-AI/stablediffusion cf1d67a
against `UNet2DConditionModel`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from erasure.checkpoints.layout.renaming import inverse, rename_all
from erasure.errors import CheckpointError

_SHARED: Final = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET: Final = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_LAYER: Final = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|\w+samplers)\.(\d+)\.")
_STEP: Final = re.compile(r"(input|output)_blocks\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Block:
    """One resolution: `layers` resnets, an attention after each or none, then a resampling."""

    layers: int
    attention: bool
    sampler: bool


@dataclass(frozen=True, slots=True)
class Structure:
    """All that decides the numbering of a UNet's layers."""

    down: tuple[Block, ...]
    up: tuple[Block, ...]


def to_original(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """diffusers names -> original names, without `model.diffusion_model.`."""
    return {new: weights[old] for old, new in original_names(weights).items()}


def to_diffusers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Original names, without `model.diffusion_model.`, -> diffusers names."""
    return {new: weights[old] for old, new in diffusers_names(weights).items()}


def original_names(names: Iterable[str]) -> dict[str, str]:
    """diffusers name -> original name, for the names of one whole UNet."""
    names = list(names)
    return rename_all(names, _modules(_read_diffusers(names)))


def diffusers_names(names: Iterable[str]) -> dict[str, str]:
    """Original name -> diffusers name, for the names of one whole UNet."""
    names = list(names)
    return rename_all(names, inverse(_modules(_read_original(names))))


def _read_diffusers(names: Iterable[str]) -> Structure:
    layers: dict[str, dict[int, dict[str, int]]] = {"down": {}, "up": {}}
    for name in names:
        if layer := _LAYER.match(name):
            kinds = layers[layer[1]].setdefault(int(layer[2]), {})
            kinds[layer[3]] = max(kinds.get(layer[3], 0), int(layer[4]) + 1)

    def blocks(side: str) -> tuple[Block, ...]:
        per_block = layers[side]
        missing = set(range(len(per_block))) - set(per_block)
        if missing or any("resnets" not in kinds for kinds in per_block.values()):
            raise CheckpointError(
                f"the UNet's {side}_blocks have gaps; the checkpoint is incomplete"
            )
        return tuple(
            Block(kinds["resnets"], "attentions" in kinds, f"{side}samplers" in kinds)
            for _, kinds in sorted(per_block.items())
        )

    return Structure(blocks("down"), blocks("up"))


def _read_original(names: Iterable[str]) -> Structure:
    inside: dict[str, dict[int, set[str]]] = {"input": {}, "output": {}}
    for name in names:
        if step := _STEP.match(name):
            rest = name[step.end() :].split(".")
            inside[step[1]].setdefault(int(step[2]), set()).add(".".join(rest[:2]))
    for side, steps in inside.items():
        if set(steps) != set(range(len(steps))):
            raise CheckpointError(
                f"the UNet's {side}_blocks have gaps; the checkpoint is incomplete"
            )

    def blocks(steps: Iterable[set[str]], *, alone: bool) -> tuple[Block, ...]:
        # A downsampler is a step of its own; an upsampler ends the last step of its block.
        done: list[Block] = []
        layers, attention = 0, False
        for modules in steps:
            sampler = bool(modules & {"0.op", "1.conv", "2.conv"})
            if not (sampler and alone):
                layers += 1
                attention |= "1.norm" in modules
            if sampler:
                done.append(Block(layers, attention, True))
                layers, attention = 0, False
        return (*done, Block(layers, attention, False)) if layers else tuple(done)

    inputs = [modules for n, modules in sorted(inside["input"].items()) if n > 0]  # 0 is conv_in
    outputs = [modules for _, modules in sorted(inside["output"].items())]
    return Structure(blocks(inputs, alone=True), blocks(outputs, alone=False))


def _modules(structure: Structure) -> dict[str, str]:
    """Every module path that differs, diffusers -> original."""
    modules = dict(_SHARED)

    def layer(block: str, number: int, step: str, *, attention: bool) -> None:
        for old, new in _RESNET.items():
            modules[f"{block}.resnets.{number}.{old}"] = f"{step}.0.{new}"
        if attention:
            modules[f"{block}.attentions.{number}"] = f"{step}.1"

    n = 1
    for i, block in enumerate(structure.down):
        for j in range(block.layers):
            layer(f"down_blocks.{i}", j, f"input_blocks.{n}", attention=block.attention)
            n += 1
        if block.sampler:
            modules[f"down_blocks.{i}.downsamplers.0.conv"] = f"input_blocks.{n}.0.op"
            n += 1
    for old, new in _RESNET.items():
        modules[f"mid_block.resnets.0.{old}"] = f"middle_block.0.{new}"
        modules[f"mid_block.resnets.1.{old}"] = f"middle_block.2.{new}"
    modules["mid_block.attentions.0"] = "middle_block.1"
    n = 0
    for i, block in enumerate(structure.up):
        for j in range(block.layers):
            layer(f"up_blocks.{i}", j, f"output_blocks.{n}", attention=block.attention)
            n += 1
        if block.sampler:
            place = 2 if block.attention else 1
            modules[f"up_blocks.{i}.upsamplers.0.conv"] = f"output_blocks.{n - 1}.{place}.conv"
    return modules
