"""Paths that were typed as options, as the places that are meant."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from erasure.local_paths import typed_path
from erasure.storage.links import followed

_WRITTEN: Final = ("out", "plot")
"""Parameters that name what is written."""


def with_places(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the home folder for `~`, which no shell expands in `--out=~/x`, and with
    what a link leads to where it is written."""
    placed = {name: _at_home(value) for name, value in options.items()}
    written = {name: placed[name] for name in _WRITTEN if isinstance(placed.get(name), Path)}
    return {**placed, **{name: followed(path) for name, path in written.items()}}


def _at_home(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return [_at_home(one) for one in value]
    return typed_path(value) if isinstance(value, Path) else value
