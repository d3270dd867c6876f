"""Recipes as TOML: written with a comment, for this machine or for others."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import tomli_w

from erasure.local_paths import without_folders
from erasure.storage.tables import to_table


def dump_toml(
    recipe: object,
    header: str | None = None,
    *,
    without: Iterable[str] = (),
) -> str:
    """The dataclass as TOML, fields in their order after a comment; `build` makes it again.

    None is left out, as TOML has no word for it, so None must be the default of such a field.

    Args:
        recipe: a dataclass of plain values.
        header: of the comment; by default what it is.
        without: dotted names of keys to leave out as well.
    """
    heading = "A recipe of diffusion-erasure." if header is None else header
    comment = "".join(f"# {line}\n" for line in heading.splitlines())
    return f"{comment}\n{tomli_w.dumps(_without(as_tables(recipe), without))}"


def as_tables(recipe: object) -> dict[str, Any]:
    """The dataclass as plain tables, without what is None.

    The table of a method begins with its name, which is no field of it.
    """
    tables: dict[str, Any] = to_table(recipe, nulls=False)
    for field in fields(recipe):  # type: ignore[arg-type]
        value = getattr(recipe, field.name)
        if hasattr(value, "default_mask") and getattr(value, "name", None) is not None:
            tables[field.name] = {"name": str(value.name), **tables[field.name]}
    return tables


def dump_published(recipe: object, *, without: Iterable[str] = ()) -> str:
    """The dataclass as TOML that others may see: paths by their last part, and neither the cache
    nor the device, which are of this machine and decide nothing but rounding; `without` as for
    `dump_toml`."""
    tables = _without(as_tables(recipe), [*without, "cache", "device"])
    return f"\n{tomli_w.dumps(without_folders(tables))}"


def _without(tables: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    for name in names:
        *path, key = name.split(".")
        inner: Any = tables
        for part in path:
            inner = inner.get(part, {})
        inner.pop(key, None)
    return tables
