"""What a config may ask for: numbers, lists and depth that some model could have.

A config comes with the weights, so it is as little to be trusted: one number of it can ask for more
layers than can ever be built.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from erasure.errors import CheckpointError
from erasure.storage.bare_names import shown

_LARGEST_NUMBER: Final = 2**24
"""Far above any width, vocabulary or number of time steps."""
_LONGEST: Final = 10_000  # entries of a list; trained betas are a thousand
_DEEPEST: Final = 8  # lists and objects within each other
_MODULES: Final = 5_000
"""Layers and groups of them; the UNet of SD XL registers 1,929."""
_ATTENTION: Final = ("eager", "sdpa", None)
"""Values of a key such as `attn_implementation` that are not code from elsewhere."""


def require_plausible(configs: Mapping[str, Mapping[str, Any]], where: str) -> None:
    """Raise CheckpointError where a config holds what no model has.

    Args:
        configs: name of the component -> its config.
        where: the folder or file they come from, for the message.
    """
    for name, config in configs.items():
        _require(config, f"{where}: {name}", 1)
        for key, value in config.items():
            if key.endswith("attn_implementation") and value not in _ATTENTION:
                raise CheckpointError(
                    f"{where}: {key} of {name} is {shown(value)}, which may be code from "
                    "elsewhere; 'eager' and 'sdpa' are read, so take the key out"
                )


def whole_number(config: Mapping[str, Any], key: str, part: str, default: int | None = None) -> int:
    """Read a number of 1 or more, such as a width, from the config of `part`.

    Raises:
        CheckpointError: it is something else, or it is not there and has no default.
    """
    value = config.get(key, default)
    if type(value) is not int or value < 1:  # a bool is an int to Python
        raise CheckpointError(
            f"{key} in the config of {part} is {shown(value)}, not a whole number of 1 or more; "
            "correct the config or fetch it again"
        )
    return value


@contextmanager
def building_limit() -> Iterator[None]:
    """Stop the building of a network with more modules than any has.

    Raises:
        ValueError: within the block, as soon as there are too many.
    """
    built = 0

    def count(module: nn.Module, name: str, part: nn.Module | None) -> None:
        nonlocal built
        built += 1
        if built > _MODULES:
            raise ValueError(f"it asks for more than {_MODULES:,} layers")

    handle = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _require(value: Any, where: str, depth: int) -> None:  # noqa: ANN401
    if isinstance(value, Mapping | list):
        if depth > _DEEPEST or len(value) > _LONGEST:
            raise CheckpointError(
                f"{where} has {len(value):,} entries at depth {depth}; at most {_LONGEST:,} and "
                f"{_DEEPEST} are read, so correct the config"
            )
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            _require(item, f"{where}.{key}"[:200], depth + 1)
    elif isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
        raise CheckpointError(
            f"{where} is {shown(value)}; no model has a number above {_LARGEST_NUMBER:,}, so "
            "correct the config or fetch it again"
        )
