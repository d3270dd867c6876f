"""Frozen dataclasses as plain tables of TOML or JSON, and back, each key and type checked."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import cache, partial
from math import isfinite, nan
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from erasure.errors import ConfigError, ErasureError

T = TypeVar("T")

_MOST = 2**1000
"""The largest whole number of a record; a little further on no float holds it."""
_SCALARS: dict[Any, tuple[tuple[type, ...], str]] = {
    # Type of a field: (types that a file may give for it, their name in a message).
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    Path: ((str, Path), "a path"),
}


def to_table(value: Any, *, nulls: bool = True) -> Any:  # noqa: ANN401
    """Plain values: dataclasses and mappings as tables, tuples as lists, paths as text.

    A class with a `to_dict` of its own is asked for it.

    Args:
        nulls: whether the file has a word for what is not there, as JSON does; None and numbers
            that are not finite are null then. Without, as in TOML, a field that is None is left
            out, so None must be the default of such a field.
    """
    if hasattr(value, "to_dict"):
        return to_table(value.to_dict(), nulls=nulls)
    if is_dataclass(value):
        own = [(field, getattr(value, field.name)) for field in fields(value) if field.init]
        for field, item in own:
            lost = not nulls and item is None and field.default is not None
            assert not lost, f"{field.name} is None, which is not its default: TOML cannot say so"
        items = ((field.name, item) for field, item in own if nulls or item is not None)
        return {name: to_table(item, nulls=nulls) for name, item in items}
    if isinstance(value, Mapping):
        return {str(key): to_table(item, nulls=nulls) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_table(item, nulls=nulls) for item in value]
    if isinstance(value, float) and nulls and not isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def fields_to_table(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """The fields of a dataclass by name, each by `to_table`: for a `to_dict` that adds to them."""
    return {field.name: to_table(getattr(value, field.name)) for field in fields(value)}


def build(kind: type[T], table: Mapping[str, Any], where: str = "") -> T:
    """Make a dataclass of a table that a person wrote; nested dataclasses are built likewise.

    Fields may be bool, int, float (a whole number will do), str, Path, Literal, Any, a dataclass,
    tuples of these, mappings of these by text, and unions of these with each other or None. What
    the table lacks keeps its default.

    Args:
        kind: a dataclass.
        table: as TOML gives it; None is taken where the field allows it.
        where: dotted name of the table, for messages.

    Raises:
        ConfigError: an unknown key (the nearest known is named), a missing one, a value of another
            type, or whatever `kind` itself refuses; the message says what to give.
    """
    made: T = _Reader(ConfigError, record=False).table(kind, table, where)
    return made


def read_record(kind: Any, value: Any, where: str, error: type[Exception]) -> Any:  # noqa: ANN401
    """Make what `kind` says of a value of a record that a program wrote; `to_table`'s inverse.

    It takes what `build` takes, with three differences. Keys that a dataclass does not know are
    left out, as a later version may have added them. Null for a number is NaN. A class with a
    `from_dict` of its own is asked for it.

    Args:
        kind: the type wanted.
        value: as `json.loads` gives it.
        where: what to call the value in a message.
        error: what is raised.

    Raises:
        Exception: `error` where a key is missing or a value is of another type. The message ends
            without a remedy, as the caller knows where to get the file again.
    """
    return _Reader(error, record=True).value(kind, value, where)


@cache
def _fields(kind: Any) -> dict[str, tuple[Any, "Field[Any]"]]:  # noqa: ANN401
    """Name -> type and field, of those that may be given."""
    hints = get_type_hints(kind)
    return {field.name: (hints[field.name], field) for field in fields(kind) if field.init}


@dataclass(frozen=True, slots=True)
class _Reader:
    error: type[Exception]
    record: bool
    """Whether a program wrote the table, and not a person."""

    def table(self, kind: Any, table: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401
        """A dataclass of a table."""
        if self.record and hasattr(kind, "from_dict"):
            return self._own(kind, table, where)
        known = _fields(kind)
        unknown = [key for key in table if key not in known]
        if unknown and not self.record:
            hint = _nearest(unknown[0], list(known), where)
            raise self.error(f"{_at(where, unknown[0])} is unknown; {hint}")
        for name, (_, field) in known.items():
            required = field.default is MISSING and field.default_factory is MISSING
            if required and name not in table:
                remedy = "" if self.record else "; it has no default, so give it"
                raise self.error(f"{_at(where, name)} is missing{remedy}")
        values = {
            name: self.value(known[name][0], value, _at(where, name))
            for name, value in table.items()
            if name in known
        }
        try:
            return kind(**values)
        except (ErasureError, self.error) as err:
            before = f"in [{where}]: " if where else ""
            if isinstance(err, ErasureError) and issubclass(self.error, ErasureError):
                raise self.error(before, err) from err  # it keeps its words for who typed a command
            raise self.error(f"{before}{err}") from err

    def _own(self, kind: Any, table: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401
        """What a class makes of a table by its own `from_dict`."""
        try:
            return kind.from_dict(table)
        except self.error as err:
            reason = str(err).split(";")[0]
            raise self.error(f"{where} is no {kind.__name__} ({reason[:120]})") from err
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as err:
            raise self.error(f"{where} is no {kind.__name__} ({err!r:.120})") from err

    def value(self, hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401
        """`value` as `hint` wants it."""
        origin, options = get_origin(hint), get_args(hint)
        if hint is Any:
            return value
        if origin in (Union, UnionType):
            return self._one_of(hint, value, where)
        if origin is Literal:
            return self._literal(hint, value, where)
        if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
            return self.table(hint, value, where)
        if _is_mapping(origin) and isinstance(value, Mapping):
            return {
                str(key): self.value(options[1], item, _at(where, str(key)))
                for key, item in value.items()
            }
        if origin is tuple and isinstance(value, (list, tuple)):
            endless = options[-1] is Ellipsis
            inner = [options[0]] * len(value) if endless else options
            if len(inner) == len(value):
                names = (f"{where}[{n}]" for n in range(len(value)))
                return tuple(map(self.value, inner, value, names))
        if hint in _SCALARS:
            return self._scalar(hint, value, where)
        if isinstance(hint, type) and isinstance(value, hint):
            return value  # built already, or None
        raise self._wrong(hint, value, where)

    def _scalar(self, hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401
        if self.record and hint is float and value is None:
            return nan
        if not isinstance(value, _SCALARS[hint][0]):
            raise self._wrong(hint, value, where)
        if hint is not bool and isinstance(value, bool):  # a bool is an int, but not meant as one
            raise self._wrong(hint, value, where)
        try:
            made = hint(value)
        except OverflowError as err:  # a whole number that no float can hold
            remedy = "" if self.record else f"; give {self._wanted(hint)}"
            raise self.error(f"{where} is too large{remedy}") from err
        if hint is int and self.record and abs(made) > _MOST:  # to divide it would overflow
            raise self.error(f"{where} is too large")
        if hint is int and not self.record and not -(2**63) <= made < 2**63:
            raise self.error(f"{where} is too large; give a whole number below 2**63")
        if not self.record and isinstance(made, str | Path) and "\0" in str(made):
            raise self.error(f"{where} has the character of number 0; take it out")
        if hint is float and not self.record and not isfinite(made):
            raise self.error(f"{where} is {made}; give a finite number")
        return made

    def _literal(self, hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401
        options = get_args(hint)
        if any(value == option and type(value) is type(option) for option in options):
            return value
        wrong = self._wrong(hint, value, where)
        close = get_close_matches(str(value), [str(option) for option in options], 1)
        raise self.error(f"{wrong}; the nearest is {close[0]!r}") if close else wrong

    def _one_of(self, hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401
        """`value` as the first type of the union that takes it."""
        options = [option for option in get_args(hint) if option is not NoneType]
        if value is None and len(options) < len(get_args(hint)):
            return None
        if len(options) == 1:
            return self.value(options[0], value, where)
        exact = [option for option in options if option is type(value)]
        for option in (*exact, *options):
            try:
                return self.value(option, value, where)
            except self.error:
                continue
        raise self._wrong(hint, value, where)

    def _wrong(self, hint: Any, value: Any, where: str) -> Exception:  # noqa: ANN401
        """The error of a value of another type."""
        table = "an object" if self.record else "a table"
        seen = table if isinstance(value, Mapping) else repr(value)
        wanted = f", not {self._wanted(hint)}" if self.record else f"; give {self._wanted(hint)}"
        return self.error(f"{where} is {seen[:80]}{wanted}")

    def _wanted(self, hint: Any) -> str:  # noqa: ANN401
        """What a message calls a type."""
        origin, options = get_origin(hint), get_args(hint)
        if origin is Literal:
            return ("one of " if len(options) > 1 else "") + ", ".join(map(repr, options))
        if origin in (Union, UnionType):
            return " or ".join(self._wanted(option) for option in options if option is not NoneType)
        if origin is tuple and options[-1] is Ellipsis:
            return "a list" if self.record else f"a list, each element {self._wanted(options[0])}"
        if origin is tuple:
            inner = "" if self.record else f": {', '.join(map(self._wanted, options))}"
            return f"a list of {len(options)}{inner}"
        if hint in _SCALARS:
            quoted = not self.record and hint in (str, Path)
            return _SCALARS[hint][1] + (" in quotes" if quoted else "")
        if self.record:
            return "an object"
        known: Any = hint if is_dataclass(hint) else None
        return f"a table with the keys {', '.join(_fields(known))}" if known else "a table"


def _is_mapping(origin: Any) -> bool:  # noqa: ANN401
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _nearest(key: str, known: list[str], where: str) -> str:
    if close := get_close_matches(key.replace("-", "_"), known, 1):
        return f"the nearest known key is {_at(where, close[0])}"
    return f"known keys: {', '.join(map(partial(_at, where), known))}"


def _at(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
