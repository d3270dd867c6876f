"""Read a LoRA file: kohya's names or those of diffusers, thin factors or whole differences."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import CheckpointError
from erasure.lora.changes import Change, Fixed, Full, Thin, fits
from erasure.lora.keys import Role, other_kind, split_key
from erasure.lora.names import Place, spellings
from erasure.lora.rows import fused_spellings
from erasure.lora.stated import stated_alpha, stated_family
from erasure.solving.factors import Factors
from erasure.storage.tensors.tensor_file import TensorFile, read_tensors

_KINDS: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE: Final = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
"""What an alpha may be stored as besides: trainers that are given a whole number keep it as one."""


@dataclass(frozen=True, slots=True, eq=False)
class LoraFile:
    """What one file does to a model."""

    changes: Mapping[str, Mapping[str, Change]]
    """Component -> name of a weight -> what happens to it."""
    notes: tuple[str, ...] = ()
    """What was taken for granted, a sentence each."""

    @property
    def count(self) -> int:
        """How many weights it changes."""
        return sum(map(len, self.changes.values()))


def read_lora(path: Path, checkpoint: Checkpoint) -> LoraFile:
    """Read a file for the layers of a model; every key of it must be understood.

    Factors without an alpha are taken at their full product, as ComfyUI and diffusers take them,
    which is noted.

    Args:
        checkpoint: whose layers it names.

    Raises:
        CheckpointError: there is no such file, it is damaged or no LoRA, of another kind of
            adapter or of another family of models, or a key of it is not understood.
    """
    if path.is_dir() or not path.exists():
        said = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path} {said}; give a LoRA file, which ends in .safetensors")
    file = read_tensors(path)
    if not file.tensors:
        raise CheckpointError(f"{path} holds no tensor; give a LoRA file")
    parts = _sorted(path, file, checkpoint)
    changes: dict[str, dict[str, Change]] = {}
    bare = 0
    for place, held in parts.items():
        own = changes.setdefault(place.component, {})
        for name, change in _changes(path, place, held, file):
            weight = checkpoint.components[place.component].get(name)
            _require_fit(path, place, name, change, weight, file, checkpoint)
            own[name] = change
        alone = "down" in held and "alpha" not in held
        bare += alone and stated_alpha(file.metadata, place, str(path)) is None
    note = f"{path.name} states no alpha for {bare} layers, so their alpha is taken to be the rank"
    return LoraFile(changes, (note,) if bare else ())


def _sorted(
    path: Path, file: TensorFile, checkpoint: Checkpoint
) -> dict[Place, dict[Role, Tensor]]:
    """Layer -> what the file holds of it."""
    known, fused = spellings(checkpoint), fused_spellings(checkpoint)
    parts: dict[Place, dict[Role, Tensor]] = {}
    unknown: list[str] = []
    for key, tensor in file.tensors.items():
        if kind := other_kind(key):
            raise CheckpointError(
                f"{path} is of the kind {kind}, by its key {key[:120]!r}, and only LoRA with two "
                "factors and whole differences are read; merge it with the tool that made it"
            )
        split = split_key(key)
        place = known.get(split[0]) if split else None
        several = fused.get(split[0]) if split else None
        if split is None or (place is None and several is None):
            unknown.append(key)
            continue
        sound = _checked(path, key, tensor, split[1])
        where = f"{path}: {key[:120]!r}"
        own = {place: sound} if place else several and several.split(split[1], sound, where)
        for one, rows in (own or {}).items():
            held = parts.setdefault(one, {})
            if split[1] in held:
                raise CheckpointError(
                    f"{path} names the layer {one.module} of the {one.component} twice, at "
                    f"{key[:120]!r} again; write it again with the tool that made it"
                )
            held[split[1]] = rows
    if unknown:
        raise _unknown(path, file, unknown, checkpoint)
    return parts


def _unknown(
    path: Path, file: TensorFile, unknown: list[str], checkpoint: Checkpoint
) -> CheckpointError:
    """Why keys are not understood, as far as it can be seen."""
    family, total = checkpoint.architecture.title, len(file.tensors)
    if not any(split_key(key) for key in file.tensors):
        return CheckpointError(
            f"{path} is no LoRA: none of its {total} keys, {unknown[0][:120]!r} first, ends as "
            "those of LoRA files do; give a LoRA file"
        )
    stated = stated_family(file)
    said = f", and {stated}" if stated else ""
    return CheckpointError(
        f"{path} has {len(unknown)} of {total} keys that are of no layer of this {family} model, "
        f"{unknown[0][:120]!r} first{said}; give a LoRA of this family"
    )


def _checked(path: Path, key: str, tensor: Tensor, role: Role) -> Tensor:
    if role == "alpha" and tensor.dtype in _WHOLE:
        return tensor
    if tensor.dtype not in _KINDS:
        raise CheckpointError(
            f"{path} stores {key[:120]!r} as {tensor.dtype}; give it in float16, bfloat16 or "
            "float32"
        )
    if not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(
            f"{path} holds numbers that are not finite in {key[:120]!r}; get it again from its "
            "source"
        )
    return tensor


def _changes(
    path: Path, place: Place, held: Mapping[Role, Tensor], file: TensorFile
) -> Iterator[tuple[str, Change]]:
    """Name of a weight -> what happens to it, of one layer."""
    whole = [role for role in ("diff", "set") if role in held]
    if len(whole) + ("down" in held or "up" in held) > 1:
        raise CheckpointError(
            f"{path} changes the weight {place.weight} in more than one way; write it again with "
            "the tool that made it"
        )
    if "down" in held or "up" in held or "alpha" in held:
        yield place.weight, _thin(path, place, held, file)
    if "diff" in held:
        yield place.weight, Full(held["diff"])
    if "set" in held:
        yield place.weight, Fixed(held["set"])
    if "diff_b" in held:
        yield place.bias, Full(held["diff_b"])


def _thin(path: Path, place: Place, held: Mapping[Role, Tensor], file: TensorFile) -> Thin:
    name = f"{path}, layer {place.module} of the {place.component}"
    down, up = held.get("down"), held.get("up")
    if down is None or up is None:
        lacking = "down" if down is None else "up"
        raise CheckpointError(f"{name}, has no factor {lacking!r}; get it again from its source")
    if down.dim() not in (2, 4) or up.dim() not in (2, 4) or not len(down) or not len(up):
        raise _wrong_shapes(name, down, up)
    if up.shape[1] != len(down) or up[0].numel() != len(down):
        raise _wrong_shapes(name, down, up)
    alpha = _alpha(path, place, held, file)
    scale = 1.0 if alpha is None else alpha / len(down)
    factors = Factors(scale * up.double().flatten(1), down.double().flatten(1))
    return Thin(factors, (len(up), *down.shape[1:]))


def _wrong_shapes(name: str, down: Tensor, up: Tensor) -> CheckpointError:
    return CheckpointError(
        f"{name}, has factors of shapes {tuple(down.shape)} and {tuple(up.shape)}, which are none "
        "of one product; get it again from its source"
    )


def _alpha(path: Path, place: Place, held: Mapping[Role, Tensor], file: TensorFile) -> float | None:
    """The layer's alpha, of a tensor or of the header; None where none is stated."""
    tensor = held.get("alpha")
    if tensor is None:
        return stated_alpha(file.metadata, place, str(path))
    if tensor.numel() != 1:
        raise CheckpointError(
            f"{path} has an alpha of shape {tuple(tensor.shape)} for {place.module}, not one "
            "number; get it again from its source"
        )
    return float(tensor)


def _require_fit(
    path: Path,
    place: Place,
    name: str,
    change: Change,
    weight: Tensor | None,
    file: TensorFile,
    checkpoint: Checkpoint,
) -> None:
    family = checkpoint.architecture.title
    if weight is None:
        raise CheckpointError(
            f"{path} changes {name} of the {place.component}, which this {family} model has not; "
            "give a LoRA of this family"
        )
    if not fits(change, tuple(weight.shape)):
        stated = stated_family(file)
        raise CheckpointError(
            f"{path} changes {name} of the {place.component} by {change.shape}, and this {family} "
            f"model has {tuple(weight.shape)} there{f'; {stated}' if stated else ''}; give a LoRA "
            "of this family"
        )
