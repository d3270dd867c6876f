"""Recipe files: found by path or by name, read into plain tables, merged; without torch."""

import os
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from erasure.errors import ConfigError
from erasure.local_paths import typed_path
from erasure.storage.regular_files import require_regular

_SHIPPED: Final = files("pipelines") / "recipes"
MAY_BE_EMPTY: Final = frozenset({"instead", "prompt", "forget_prompt", "retain_prompt"})
"""Settings whose text may be empty, as they are prompts: that of no prompt at all."""


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file into plain tables.

    Raises:
        ConfigError: the file cannot be read, or is no TOML; then the line is named.
    """
    require_regular(path, ConfigError)
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path} is not UTF-8 text; a recipe is a TOML file") from err
    except OSError as err:
        raise ConfigError(f"{path} cannot be read ({err.strerror}); name a TOML file") from err
    try:
        tables = tomllib.loads(text)
        _require_small(tables)
        return tables
    except tomllib.TOMLDecodeError as err:
        lines = text.splitlines() or [""]
        match = re.fullmatch(r"(.*) \(at line (\d+), column \d+\)", str(err))
        number = min(int(match[2]), len(lines)) if match else len(lines)
        raise ConfigError(
            f"{path}, line {number} is not TOML: {lines[number - 1].strip()[:80]!r} "
            f"({match[1] if match else err}); correct it, for example: steps = 150"
        ) from err
    except (ValueError, RecursionError) as err:  # a number of 5,000 digits, brackets 1,000 deep
        raise ConfigError(f"{path} cannot be read as TOML ({err}); simplify it") from err


def stated_recipe(path: Path) -> dict[str, Any]:
    """The tables of a recipe file that a person gives to a command.

    Raises:
        ConfigError: as `load_toml`, or a setting has an empty text.
    """
    tables = load_toml(path)
    empty = empty_setting(tables)
    if empty is not None:
        raise ConfigError(f"{path}: {empty} is empty; give it a value, or take it out")
    return tables


def empty_setting(tables: Mapping[str, Any], before: str = "") -> str | None:
    """Dotted name of a setting whose text is empty, which would pass for one that is not given.

    What a method makes of its own settings is not known here.
    """
    for key, value in tables.items():
        name = f"{before}{key}"
        if name in ("method", "methods"):
            continue
        if value == "" and key not in MAY_BE_EMPTY:
            return name
        inner = empty_setting(value, f"{name}.") if isinstance(value, Mapping) else None
        if inner is not None:
            return inner
    return None


def _require_small(value: object) -> None:
    """Raise ValueError for a whole number that TOML has not: it has those of 64 bits alone, while
    Python reads any in base 16, and cannot say one of thousands of digits in a message."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("it has a whole number of more than 64 bits")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _require_small(item)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merged key by key; what is None above does not hide what is below."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        elif value is not None:
            merged[key] = value
    return merged


def shipped_recipes() -> tuple[str, ...]:
    """Names of the ready recipes, sorted; the files of defaults, which hold tables of all methods,
    are none."""
    names = (entry.name for entry in _SHIPPED.iterdir() if not entry.name.startswith("defaults"))
    return tuple(sorted(n.removesuffix(".toml") for n in names if n.endswith(".toml")))


def read_recipe(name: str) -> dict[str, Any]:
    """The tables of a recipe file, or of a ready recipe by its name.

    Raises:
        ConfigError: no such file or name, or as `stated_recipe`.
    """
    if os.path.isfile(path := typed_path(name)):
        return stated_recipe(path)
    if name not in shipped_recipes():
        raise ConfigError(
            f"there is no recipe {name!r}; give a TOML file, or one of "
            f"{', '.join(shipped_recipes())}"
        )
    return shipped(name)


def shipped(name: str) -> dict[str, Any]:
    """The tables of a ready recipe or of defaults."""
    return load_toml(Path(str(_SHIPPED / f"{name}.toml")))
