"""Recipes: TOML files that are checked as they become frozen dataclasses, and written back."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from functools import partial
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tomli_w

from erasure.errors import ConfigError
from erasure.local_paths import without_folders
from pipelines.configs.recipe_files import load_toml, merge

__all__ = ["as_tables", "build", "dump_published", "dump_toml", "load_toml", "merge"]

T = TypeVar("T")

_SCALARS: dict[type, tuple[tuple[type, ...], str]] = {
    # Type of a field: (types that a file may give for it, their name in a message).
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text in quotes"),
    Path: ((str, Path), "a path in quotes"),
}


def build(cls: type[T], mapping: Mapping[str, Any], where: str = "") -> T:
    """Make a `cls` of a table, its fields checked by type and nested dataclasses built likewise.

    Fields may be bool, int, float (a whole number will do), str, Path, Literal, a dataclass,
    tuples of these, and unions of these with each other or None. What the table lacks keeps its
    default.

    Args:
        cls: a dataclass.
        mapping: as TOML gives it; None is taken where the field allows it.
        where: dotted name of the table, for messages.

    Raises:
        ConfigError: an unknown key (the nearest known is named), a missing one, a value of another
            type, or whatever `cls` itself refuses.
    """
    hints = get_type_hints(cls)
    known = {field.name: field for field in fields(cls) if field.init}  # type: ignore[arg-type]
    for key in mapping:
        if key not in known:
            raise ConfigError(f"{_at(where, key)} is unknown; {_nearest(key, list(known), where)}")
    for name, field in known.items():
        required = field.default is MISSING and field.default_factory is MISSING
        if required and name not in mapping:
            raise ConfigError(f"{_at(where, name)} is missing; it has no default, so give it")
    values = {key: _checked(hints[key], value, _at(where, key)) for key, value in mapping.items()}
    try:
        return cls(**values)
    except ConfigError as err:
        raise ConfigError(f"in [{where}]: {err}" if where else str(err)) from err


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
    """The dataclass as plain tables, without what is None."""
    tables: dict[str, Any] = _plain(recipe)
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


def _checked(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    """`value` as `hint` wants it."""
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _one_of(hint, value, where)
    if origin is Literal:
        if any(value == option and type(value) is type(option) for option in options):
            return value
        wrong = _wrong(hint, value, where)
        close = get_close_matches(str(value), [str(option) for option in options], 1)
        raise ConfigError(f"{wrong}; the nearest is {close[0]!r}" if close else wrong)
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return build(hint, value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        endless = options[-1] is Ellipsis
        if not endless and len(options) != len(value):
            raise ConfigError(_wrong(hint, value, where))
        inner = [options[0]] * len(value) if endless else options
        names = (f"{where}[{n}]" for n in range(len(value)))
        return tuple(map(_checked, inner, value, names))
    if hint in _SCALARS and isinstance(value, _SCALARS[hint][0]):
        if hint is bool or not isinstance(value, bool):  # a bool is an int, but not meant as one
            try:
                found = hint(value)
            except OverflowError as err:  # a whole number that no float can hold
                raise ConfigError(f"{where} is too large; give {_wanted(hint)}") from err
            if hint is float and not isfinite(found):
                raise ConfigError(f"{where} is {found}; give a finite number")
            return found
    elif isinstance(hint, type) and isinstance(value, hint):
        return value  # built already, or None
    raise ConfigError(_wrong(hint, value, where))


def _one_of(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    """`value` as the first type of the union that takes it."""
    options = [option for option in get_args(hint) if option is not NoneType]
    if value is None and len(options) < len(get_args(hint)):
        return None
    if len(options) == 1:
        return _checked(options[0], value, where)
    exact = [option for option in options if option is type(value)]
    for option in (*exact, *options):
        try:
            return _checked(option, value, where)
        except ConfigError:
            continue
    raise ConfigError(_wrong(hint, value, where))


def _wrong(hint: Any, value: Any, where: str) -> str:  # noqa: ANN401
    found = "a table" if isinstance(value, Mapping) else repr(value)
    return f"{where} is {found[:80]}; give {_wanted(hint)}"


def _wanted(hint: Any) -> str:  # noqa: ANN401
    """What a message calls a type."""
    origin, options = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ("one of " if len(options) > 1 else "") + ", ".join(map(repr, options))
    if origin in (Union, UnionType):
        return " or ".join(_wanted(option) for option in options if option is not NoneType)
    if origin is tuple and options[-1] is Ellipsis:
        return f"a list, each element {_wanted(options[0])}"
    if origin is tuple:
        return f"a list of {len(options)}: {', '.join(map(_wanted, options))}"
    if hint in _SCALARS:
        return _SCALARS[hint][1]
    if not is_dataclass(hint):
        return "a table"
    return f"a table with the keys {', '.join(field.name for field in fields(hint) if field.init)}"


def _nearest(key: str, known: list[str], where: str) -> str:
    if close := get_close_matches(key.replace("-", "_"), known, 1):
        return f"the nearest known key is {_at(where, close[0])}"
    return f"known keys: {', '.join(map(partial(_at, where), known))}"


def _at(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Dataclasses as tables, tuples as lists, paths as text."""
    if is_dataclass(value):
        for field in fields(value):
            lost = getattr(value, field.name) is None and field.default is not None
            assert not lost, f"{field.name} is None, which is not its default: TOML cannot say so"
        items = [(f.name, getattr(value, f.name)) for f in fields(value) if f.init]
        name = getattr(value, "name", None) if hasattr(value, "default_mask") else None
        if name is not None:  # the table of a method begins with its name
            items.insert(0, ("name", str(name)))
        return {key: _plain(item) for key, item in items if item is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
