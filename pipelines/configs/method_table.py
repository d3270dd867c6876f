"""The recipe's `[method]` table: which method, with which of its settings."""

import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from erasure.errors import ConfigError
from erasure.methods import METHODS, Method, SalUn, method_kind
from erasure.storage.tables import build

_OLD_NAMES: Final = {"random-label": "salun", "ascent": "ascent"}
"""What the table `[objective]` of older recipes called the methods."""
_OF_OTHERS: Final[Mapping[str, Mapping[str, object]]] = {
    "random-label": {"bound": 1.0},
    "ascent": {"target": "moving", "kept": "noise"},
}
"""Keys of `[objective]` that older recipes carried for the method that was not chosen, with their
defaults."""
_WHOLE: Final = {"name", "alpha", "target", "kept", "bound"}
"""Keys of an `[objective]` that the program wrote; the canvas's default of `kept` was `base`."""


def converted(tables: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe with `[method]`, where an older one has `[objective]` and `[train]`; and with
    `saliency.guidance_scale`, where an older one has `saliency.guidance`.

    Raises:
        ConfigError: it has both forms of one of them, an objective that never was, or a value that
            its objective did not read and that is not the old default.
    """
    new = _with_scale(tables)
    objective, train = new.pop("objective", None), new.pop("train", None)
    if objective is None and train is None:
        return new
    if "method" in new:
        raise ConfigError(
            "the recipe has [method] beside [objective] or [train]; move their keys into [method]"
        )
    for table, name in ((objective, "objective"), (train, "train")):
        if table is not None and not isinstance(table, Mapping):
            raise ConfigError(f"{name} is {table!r}; give a table, and call it [method]")
    objective, train = dict(objective or {}), dict(train or {})
    whole = objective.keys() >= _WHOLE
    old = objective.pop("name", "random-label")
    if old not in _OLD_NAMES:
        raise ConfigError(
            f"objective.name is {old!r}; give [method] with a name of {', '.join(METHODS)}"
        )
    for key, default in _OF_OTHERS[old].items():
        value = objective.pop(key, default)
        if value != default and not (whole and (key, value) == ("kept", "base")):
            raise ConfigError(
                f"objective.{key} is {str(value)[:80]!r} and would not be read, as the objective "
                f"is {old}; leave it out"
            )
    new["method"] = {"name": _OLD_NAMES[old], **objective, **train}
    return new


def _with_scale(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the w of older recipes into g = w + 1, the scale that is meant everywhere else."""
    saliency = tables.get("saliency")
    if not isinstance(saliency, Mapping) or "guidance" not in saliency:
        return dict(tables)
    if "guidance_scale" in saliency:
        raise ConfigError(
            "the recipe has saliency.guidance beside saliency.guidance_scale; the first is the w "
            "of older recipes, 1 less than the second, so take it out"
        )
    new = {key: value for key, value in saliency.items() if key != "guidance"}
    w = saliency["guidance"]
    number = isinstance(w, int | float) and not isinstance(w, bool)
    return {**tables, "saliency": {**new, "guidance_scale": w + 1 if number else w}}


def refuse_code(tables: Mapping[str, Any], *, allowed: bool) -> None:
    """Raise ConfigError where a recipe brings code of its own and nobody has allowed it."""
    if tables.get("code") is not None and not allowed:
        raise ConfigError(
            f"the recipe's method is code of its own, {str(tables['code'])[:200]!r}; look at that "
            "file, then give --allow-code to `erasure erase`"
        )


def kind_of(name: object, code: str | None) -> type[Method]:
    """The class of a recipe's method.

    Args:
        name: of `METHODS`; not read where there is `code`.
        code: `module:Class` or `FILE.py:Class` of a method of the user's own, or None.

    Raises:
        ConfigError: no method has that name, or the code gives none.
    """
    if code is not None:
        return load_method(code)
    if not isinstance(name, str):
        raise ConfigError(f"method.name is {name!r}; give one of {', '.join(METHODS)}")
    return method_kind(name)


def kind_in(tables: Mapping[str, Any]) -> type[Method]:
    """The class of the method that a whole recipe's tables name; SalUn where they name none.

    Raises:
        ConfigError: as `kind_of`, or the method is no table.
    """
    table, code = tables.get("method", {}), tables.get("code")
    if not isinstance(table, Mapping):
        raise ConfigError(f"method is {table!r}; give a table with a name")
    if code is not None and not isinstance(code, str):
        raise ConfigError(f"code is {code!r}; give FILE.py:Class in quotes")
    return kind_of(table.get("name", SalUn.name), code)


def build_method(kind: type[Method], table: Mapping[str, Any], seed: object) -> Method:
    """The method with the settings of a table, which has no `name` any more.

    Args:
        seed: of the recipe; taken by methods that have a seed, unless the table has its own.

    Raises:
        ConfigError: the method has no such setting (the nearest is named), or a value is wrong.
    """
    settings = dict(table)
    if any(field.name == "seed" for field in fields(kind)):  # type: ignore[arg-type]
        settings.setdefault("seed", seed)
    try:
        return build(kind, settings, "method")
    except ConfigError as err:
        raise ConfigError(f"{kind.name}: {err}") from err


def load_method(code: str) -> type[Method]:
    """Import a method of the user's own; this runs the code of that file.

    Raises:
        ConfigError: there is no such file, module or class, or the class is no method.
    """
    place, _, name = code.rpartition(":")
    if not place or not name.isidentifier():
        raise ConfigError(f"method {code!r} names no class; write it as FILE.py:Class")
    try:
        module = (
            _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        )
    except (ImportError, SyntaxError) as err:
        raise ConfigError(f"{place} cannot be imported ({err}); correct it") from err
    kind = getattr(module, name, None)
    return _checked_method(kind, code)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"there is no file {path}; give FILE.py:Class with a file that exists")
    name = f"erasure_method_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _checked_method(kind: Any, code: str) -> type[Method]:  # noqa: ANN401
    if not (inspect.isclass(kind) and is_dataclass(kind)):
        raise ConfigError(f"{code} is no frozen dataclass; see docs/extending.md for what it needs")
    names = ("name", "title", "source", "default_mask", "default_scope", "needs", "length", "run")
    missing = [name for name in names if not hasattr(kind, name)]
    if missing:
        raise ConfigError(
            f"{code} has no {', '.join(missing)}; a method needs them, see docs/extending.md"
        )
    return cast(type[Method], kind)


def settings_of(texts: Sequence[str]) -> dict[str, Any]:
    """`--set` options, such as `strength=2`, as a table of method settings.

    A value is a number, true, false, a JSON list or text.

    Raises:
        ConfigError: one of them names no value, or a name comes twice.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        key = name.strip().replace("-", "_")
        if not sign or not key:
            raise ConfigError(f"--set {text!r} names no value; write it as alpha=0.5")
        if key in settings:
            raise ConfigError(f"--set {key} is given twice; give it once")
        try:
            settings[key] = json.loads(value)
        except (ValueError, RecursionError):
            settings[key] = value.strip()
    return settings
