"""Rename weights by the module they sit in: one table of module paths, read in either direction."""

from collections.abc import Callable, Iterable, Mapping

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


def rename_all(names: Iterable[str], modules: Mapping[str, str]) -> dict[str, str]:
    """Old name -> new name, in the order given."""
    return {name: renamed(name, modules) for name in names}


def inverse(modules: Mapping[str, str]) -> dict[str, str]:
    """The same table read backwards; it must be one to one."""
    backwards = {new: old for old, new in modules.items()}
    assert len(backwards) == len(modules), "two modules share one name"
    return backwards
