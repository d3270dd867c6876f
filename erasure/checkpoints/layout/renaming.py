"""Rename weights by the module they sit in: one table of module paths, read in either direction."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from erasure.errors import CheckpointError

Convert = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""Weights under one naming in, the same weights under the other out; meta tensors pass too."""


def renamed(name: str, modules: Mapping[str, str]) -> str:
    """Replace the longest module path in `modules` that holds `name`; what follows it stays.

    Raises:
        CheckpointError: no path in `modules` holds `name`.
    """
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        module = modules.get(".".join(parts[:end]))
        if module is not None:
            return ".".join([module, *parts[end:]])
    raise CheckpointError(f"weight {name!r} has no place in the layout of its family's single file")


def respelled(weights: Mapping[str, Tensor], rename: Callable[[str], str]) -> dict[str, Tensor]:
    """Weights under one spelling of their names, where files have several.

    Raises:
        CheckpointError: a weight is there under two spellings, with two values.
    """
    done: dict[str, Tensor] = {}
    before: dict[str, str] = {}
    for name, weight in weights.items():
        new = rename(name)
        if new in done and not _alike(done[new], weight):
            raise CheckpointError(
                f"{before[new]} and {name} are one weight under two names, with two values; take "
                "out the one that is wrong"
            )
        done[new], before[new] = weight, name
    return done


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.double(), other.double())


def rename_all(names: Iterable[str], modules: Mapping[str, str]) -> dict[str, str]:
    """Old name -> new name, in the order given."""
    return {name: renamed(name, modules) for name in names}


def inverse(modules: Mapping[str, str]) -> dict[str, str]:
    """The same table read backwards; it must be one to one."""
    backwards = {new: old for old, new in modules.items()}
    assert len(backwards) == len(modules), "two modules share one name"
    return backwards


def joined(parts: Sequence[Tensor], name: str) -> Tensor:
    """Tensors one below the other.

    Raises:
        CheckpointError: their rows are not alike; `name` is what they are made one of.
    """
    if any(not part.dim() or part.shape[1:] != parts[0].shape[1:] for part in parts):
        shapes = ", ".join(str(list(part.shape)) for part in parts)
        raise CheckpointError(
            f"{name} is made of weights of the shapes {shapes}, which do not go one below the "
            "other; fetch the file again"
        )
    return torch.cat(list(parts))


def parted(weight: Tensor, count: int, name: str) -> tuple[Tensor, ...]:
    """The inverse: views of so many tensors of as many rows each.

    Raises:
        CheckpointError: the rows of the weight cannot be parted so.
    """
    if not weight.dim() or not len(weight) or len(weight) % count:
        raise CheckpointError(
            f"{name} has the shape {list(weight.shape)}, whose rows are none for {count} parts; "
            "fetch the file again"
        )
    return weight.chunk(count)
