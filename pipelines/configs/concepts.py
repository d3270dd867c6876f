"""The concepts that a recipe or a command line names: one in `concept`, more in `concepts`."""

from collections.abc import Mapping
from typing import Any

from erasure.errors import ConfigError


def named_concepts(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables with the first concept in `concept`, and the others, if any, in `concepts`.

    What is no text is left as it is, for whoever checks the types.

    Raises:
        ConfigError: a concept is named twice.
    """
    first, others = tables.get("concept"), tables.get("concepts") or []
    if not isinstance(others, list | tuple):
        return dict(tables)
    names = [*([] if first is None else [first]), *others]
    if not names or not all(isinstance(name, str) for name in names):
        return dict(tables)
    tidied = [" ".join(name.split()).lower() for name in names]
    for name in names:
        if tidied.count(" ".join(name.split()).lower()) > 1:
            raise ConfigError(f"the concept {name!r} is named twice; name it once")
    left = {key: value for key, value in tables.items() if key not in ("concept", "concepts")}
    return {**left, "concept": names[0], **({"concepts": names[1:]} if names[1:] else {})}


def over_file(options: Mapping[str, Any], file: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe file without its concepts, where the command line names its own."""
    if "concept" not in options:
        return dict(file)
    return {key: value for key, value in file.items() if key not in ("concept", "concepts")}
