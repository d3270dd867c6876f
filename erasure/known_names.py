"""Tables of things by name: look one up, make one of its settings, and hint at the name meant."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from erasure.errors import ConfigError

V = TypeVar("V")


def looked_up(what: str, name: str, table: Mapping[str, V]) -> V:
    """The entry of a name.

    Args:
        what: the word that a message has for such a thing, such as `method`.

    Raises:
        ConfigError: the table has no such name; the nearest is named.
    """
    if name not in table:
        raise ConfigError(f"{what} {name!r} is unknown; {hint(name, table)}")
    return table[name]


def made_with(kind: type[V], name: str, settings: Mapping[str, Any]) -> V:
    """A dataclass of this kind, with these of its settings instead of its defaults.

    Args:
        name: what a message calls the kind.

    Raises:
        ConfigError: no setting has such a name, or a value is outside its range.
    """
    require_settings(kind, name, settings)
    return kind(**settings)


def require_settings(kind: type[object], name: str, settings: Iterable[str]) -> None:
    """Raise ConfigError where a dataclass has no setting of a name; the nearest is named."""
    fields = [field.name for field in dataclasses.fields(kind) if field.init]  # type: ignore[arg-type]
    for setting in settings:
        if setting not in fields:
            raise ConfigError(f"{name} has no setting {setting!r}; {hint(setting, fields)}")


def hint(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest of the known ones, and all of them.

    Returns:
        `did you mean 'salun'? known are salun, ascent`, or the latter half where none is alike.
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"{meant}known are {', '.join(names) or 'none'}"
