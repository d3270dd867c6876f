"""A model of which only the shapes are known: enough to plan for, and for nothing else."""

import os
from pathlib import Path

import torch

from erasure.architectures.architecture import Architecture
from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.description import Description, shipped_description
from erasure.checkpoints.expected_weights import expected_weights
from erasure.checkpoints.reading.reading_folder import describe_folder
from erasure.errors import ConfigError


def is_not_here(model: str, config: str | None) -> bool:
    """Whether a model's weights are not on this machine and its shapes are known all the same: from
    a folder of configs, or as it is the name of a family."""
    there = os.path.exists(os.path.expanduser(model))
    return not there and (config is not None or model in ARCHITECTURES)


def shapes_of(model: str, config: str | None) -> Checkpoint:
    """A checkpoint of a model's shapes, whose tensors have no contents.

    Args:
        model: what it is called, or a key of `ARCHITECTURES`, whose published configs are taken.
        config: a diffusers folder with its configs; no weights are looked for.

    Raises:
        CheckpointError: the folder describes no model of a known family.
        ConfigError: neither says what the shapes are.
    """
    if config is not None:
        place = Path(os.path.expanduser(config))
        description, family = describe_folder(place)
        source = f"the configs of {place}"
    elif model in ARCHITECTURES:
        family = ARCHITECTURES[model]
        description, source = shipped_description(model), f"the published configs of {family.title}"
    else:
        raise ConfigError(
            f"there is no model {model!r}, and nothing says what its shapes are; give --config "
            f"FOLDER, or one of {', '.join(ARCHITECTURES)}"
        )
    note = (
        f"{model} is not here: its shapes are those of {source}, and its weights are taken to be "
        "stored as 16-bit numbers"
    )
    return Checkpoint(
        architecture=family,
        path=Path(model),
        components=_empty(family, description),
        description=description,
        notes=(note,),
    )


def _empty(family: Architecture, description: Description) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of every component, on `meta`."""
    return {
        part.component: {
            name: weight.to(torch.bfloat16) if weight.is_floating_point() else weight
            for name, weight in expected_weights(
                part, description.components[part.component]
            ).items()
        }
        for part in family.parts
        if part.component in description.components
    }
