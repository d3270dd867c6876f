"""Put trained values back into the base, where the mask allows it and nowhere else."""

from collections.abc import Mapping

import torch
from torch import Tensor

from erasure.checkpoints.wording import few
from erasure.errors import CheckpointError

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def merge_selected(
    base: Mapping[str, Tensor], trained: Mapping[str, Tensor], selected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The base with selected weights replaced; all others keep the very bytes of the base.

    Args:
        base: name -> weight in its stored type.
        trained: name -> weight of the same shape in any type; read for names in `selected` only.
        selected: name -> bool tensor of that weight's shape, True where it may have moved; a name
            that is missing is not selected at all.

    Returns:
        Every name of `base`, in the types of `base`; untouched tensors are the same objects.

    Raises:
        CheckpointError: a selected name or shape is not in both.
    """
    _require_fit(base, trained, selected)
    merged = dict(base)
    for name, mask in selected.items():
        mask = mask.to(base[name].device, torch.bool)
        if bool(mask.any()):
            values = trained[name].detach().to(base[name])
            merged[name] = torch.where(mask, values, base[name])
    return merged


def count_moved(base: Mapping[str, Tensor], merged: Mapping[str, Tensor]) -> int:
    """How many weights differ in any bit between two sets of the same names, shapes and types."""
    if base.keys() != merged.keys():
        odd = sorted(base.keys() ^ merged.keys())
        raise CheckpointError(f"the two networks differ in names: {few(odd)}")
    return sum(_count_differing(base[name], merged[name]) for name in base)


def count_rounded_away(base: Tensor, trained: Tensor, merged: Tensor, selected: Tensor) -> int:
    """How many selected weights moved, and are stored as they were before, as their type has no
    number nearer to where they went.

    Args:
        base: the weight in its stored type.
        trained: its new values, in float32 or wider.
        merged: what is stored of them, in the type of `base`.
        selected: bool, of their shape.
    """
    if base.element_size() >= trained.element_size():
        return 0
    went = trained.detach().to(base.device) != base.to(trained.dtype)
    return int(torch.count_nonzero(went & (merged == base) & selected.to(base.device)))


def _count_differing(one: Tensor, other: Tensor) -> int:
    if one is other:
        return 0
    bits = _BITS[one.element_size()]
    one, other = one.detach().reshape(-1).view(bits), other.detach().reshape(-1).view(bits)
    return int((one != other.to(one.device)).sum())


def _require_fit(
    base: Mapping[str, Tensor], trained: Mapping[str, Tensor], selected: Mapping[str, Tensor]
) -> None:
    unknown = sorted(name for name in selected if name not in base or name not in trained)
    if unknown:
        raise CheckpointError(f"selected weights are not in the network: {few(unknown)}")
    for name, mask in selected.items():
        shapes = {tuple(base[name].shape), tuple(trained[name].shape), tuple(mask.shape)}
        if len(shapes) != 1:
            raise CheckpointError(
                f"{name}: base has shape {list(base[name].shape)}, "
                f"trained {list(trained[name].shape)}, mask {list(mask.shape)}; they must be equal"
            )
