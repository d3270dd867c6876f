"""Merge LoRA files into a model, which is then the base of what follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.writing.inventory import file_hash
from erasure.errors import CheckpointError, ConfigError
from erasure.local_paths import typed_path
from erasure.lora.changes import Change, Fixed
from erasure.lora.reading import LoraFile, read_lora


@dataclass(frozen=True, slots=True)
class Part:
    """A file to merge, and how strongly."""

    path: Path
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not isfinite(self.strength) or not self.strength:
            raise ConfigError(
                f"the strength of {self.path} is {self.strength}; give a number that is not 0, "
                "or leave the file out"
            )


def named_part(text: str) -> Part:
    """`FILE` or `FILE:0.8` -> the file and its strength, 1 where none is given.

    Raises:
        ConfigError: what stands behind the last colon is no number, or is 0.
    """
    path, colon, strength = text.rpartition(":")
    if not colon or strength.endswith(".safetensors") or "/" in strength:
        return Part(typed_path(text))
    try:
        value = float(strength)
    except ValueError:
        raise ConfigError(
            f"the LoRA {text!r} has {strength!r} for its strength; write it as FILE:0.8, or FILE"
        ) from None
    return Part(typed_path(path), value)


def with_loras(checkpoint: Checkpoint, parts: Sequence[Part]) -> Checkpoint:
    """The model with files merged, in the stored types of its weights.

    All changes of a weight are added in float64 and rounded once. What was merged is noted in
    `merged` and, what was taken for granted, in `notes`.

    Raises:
        CheckpointError: see `read_lora`; or a merged weight is not finite in its type.
        ConfigError: a file sets whole weights, which know no strength, at another than 1.
    """
    files = [read_lora(part.path, checkpoint) for part in parts]
    for part, file in zip(parts, files, strict=True):
        _require_strength(part, file)
    touched = {
        (component, name)
        for file in files
        for component, changes in file.changes.items()
        for name in changes
    }
    components = {name: dict(weights) for name, weights in checkpoint.components.items()}
    for component, name in sorted(touched):
        changes = [
            (file.changes.get(component, {}).get(name), part.strength)
            for file, part in zip(files, parts, strict=True)
        ]
        weight = checkpoint.components[component][name]
        components[component][name] = _merged(weight, changes, f"{name} of the {component}")
    return replace(
        checkpoint,
        components=components,
        notes=(*checkpoint.notes, *(note for file in files for note in file.notes)),
        merged=(*checkpoint.merged, *map(_record, parts, files)),
    )


def _require_strength(part: Part, file: LoraFile) -> None:
    if part.strength == 1:
        return
    for changes in file.changes.values():
        for name, change in changes.items():
            if isinstance(change, Fixed):
                raise ConfigError(
                    f"{part.path} sets {name} whole, so its strength {part.strength:g} would not "
                    "be read; give it as FILE or FILE:1"
                )


def _merged(weight: Tensor, changes: Sequence[tuple[Change | None, float]], where: str) -> Tensor:
    value = weight.double()
    for change, strength in changes:
        if change is not None:
            value = change.applied(value, strength)
    stored = value.to(weight.dtype)
    if not bool(torch.isfinite(stored).all()):
        raise CheckpointError(
            f"with the LoRA merged, {where} is not finite as {weight.dtype}; give a smaller "
            "strength"
        )
    return stored


def _record(part: Part, file: LoraFile) -> Mapping[str, Any]:
    """What the provenance says of a merged file; plain JSON values, no path of this machine."""
    return {
        "file": part.path.name,
        "strength": part.strength,
        "sha256": file_hash(part.path),
        "weights": {component: len(changes) for component, changes in file.changes.items()},
    }
