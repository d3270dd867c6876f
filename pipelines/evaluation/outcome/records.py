"""Frozen dataclasses as plain JSON values, and back with every type checked."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from math import isfinite, nan
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from eval.errors import EvalError

_NAMES: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def to_plain(value: Any) -> Any:  # noqa: ANN401
    """What `json.dumps` takes: dataclasses as objects, tuples as lists, no NaN but null.

    A class with a `to_dict` of its own is asked for it.
    """
    if hasattr(value, "to_dict"):
        return to_plain(value.to_dict())
    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def from_plain(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    """Make what `hint` says of a value that came out of JSON; the inverse of `to_plain`.

    Hints may be str, int, float, bool, Any, Literal, dataclasses, tuples, mappings by text, and
    unions of one of these with None or of scalars. Keys that a dataclass does not know are left
    out, as a later version may add some; null for a number is NaN.

    Args:
        hint: the type wanted.
        value: as `json.loads` gives it.
        where: what to call the value in a message.

    Raises:
        EvalError: a key is missing, or a value is of another type.
    """
    origin, options = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        return _one_of(options, value, where)
    if origin is Literal and value in options:
        return value
    if is_dataclass(hint) and isinstance(value, Mapping):
        return _dataclass(hint, value, where)
    if isinstance(value, Mapping) and isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: from_plain(options[1], v, f"{where}.{key}") for key, v in value.items()}
    if origin is tuple and isinstance(value, list):
        kinds = (options[0],) * len(value) if options[-1] is Ellipsis else options
        if len(kinds) == len(value):
            pairs = enumerate(zip(kinds, value, strict=True))
            return tuple(from_plain(kind, v, f"{where}[{n}]") for n, (kind, v) in pairs)
    if hint is float and (value is None or type(value) is int):
        return nan if value is None else float(value)
    if hint in _NAMES and type(value) is hint:
        return value
    found = "an object" if isinstance(value, Mapping) else repr(value)[:60]
    raise EvalError(f"{where} is {found}, not {_wanted(hint)}")


def _one_of(options: tuple[Any, ...], value: Any, where: str) -> Any:  # noqa: ANN401
    """`value` as null, as the scalar that it is, or as the last type of the union."""
    if value is None and NoneType in options:
        return None
    kinds = [option for option in options if option is not NoneType]
    return from_plain(next((k for k in kinds if type(value) is k), kinds[-1]), value, where)


def _dataclass(cls: Any, value: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401
    if hasattr(cls, "from_dict"):
        try:
            return cls.from_dict(value)
        except (EvalError, KeyError, TypeError, ValueError, AttributeError, IndexError) as err:
            reason = str(err).split(";")[0] if isinstance(err, EvalError) else repr(err)
            raise EvalError(f"{where} is no {cls.__name__} ({reason[:120]})") from err
    hints = _hints(cls)
    for f in fields(cls):
        if f.name not in value and f.default is MISSING and f.default_factory is MISSING:
            raise EvalError(f"{where}.{f.name} is missing")
    return cls(
        **{
            name: from_plain(hint, value[name], f"{where}.{name}")
            for name, hint in hints.items()
            if name in value
        }
    )


@cache
def _hints(cls: type) -> dict[str, Any]:
    return {f.name: get_type_hints(cls)[f.name] for f in fields(cls)}


def _wanted(hint: Any) -> str:  # noqa: ANN401
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        return "a list" if kinds[-1] is Ellipsis else f"a list of {len(kinds)}"
    return _NAMES.get(hint, "an object")
