"""From what was filled in on the page to the line of the command that does it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from erasure.errors import ConfigError
from erasure.methods import METHODS, Method
from erasure.methods.registry import method_kind
from pipelines.configs.recipe_files import shipped_recipes
from pipelines.early import EMBEDDED
from pipelines.ui.places import Places

INTENTS: Final[Mapping[str, str]] = {
    "object": "an object",
    "style": "a style",
    "nudity": "nudity",
    "person": "a person",
}
"""Kinds of concept. A method has ready recipes for some of them, and the page says for which."""
_LONGEST: Final = 200
"""Letters of a text in a field."""
_SETTINGS: Final = 40
"""Settings beside the fields."""


@dataclass(frozen=True, slots=True)
class EraseForm:
    """The left side of the page; values as they were typed, checked by `line`."""

    model: str
    concepts: tuple[str, ...]
    name: str
    intent: str = "object"
    method: str = "salun"
    instead: str = ""
    density: str = ""
    steps: str = ""
    watch: str = ""
    """Steps between two looks of a judge that ends the training; empty for none."""
    more: Mapping[str, str] | None = None
    """Settings of the method that have no field of their own."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "EraseForm":
        """Read what the page sent.

        Raises:
            ConfigError: a field is missing, unknown, of another type or too long.
        """
        known = {field.name for field in fields(cls)}
        if not values.keys() <= known or not {"model", "concepts", "name"} <= values.keys():
            raise ConfigError("the form has other fields than this page; reload it")
        concepts, more = values["concepts"], values.get("more") or {}
        if not isinstance(concepts, list) or not isinstance(more, dict):
            raise ConfigError("concepts must be a list and more a table; reload the page")
        texts = [*concepts, *more.values(), *more.keys()]
        texts += [value for key, value in values.items() if key not in ("concepts", "more")]
        for text in texts:
            if not isinstance(text, str) or len(text) > _LONGEST or not _printable(text):
                raise ConfigError(f"a field holds something other than {_LONGEST} letters of text")
        return cls(**{**values, "concepts": tuple(concepts), "more": more})

    def line(self, places: Places) -> list[str]:
        """The words behind `erasure` of the command that does it.

        Raises:
            ConfigError: a value is not one that the page may pass on; it says which.
        """
        concepts = [concept.strip() for concept in self.concepts if concept.strip()]
        if not concepts:
            raise ConfigError("there is no concept; write what the model is to forget")
        kind = _method(self.method)
        words = ["erase", places.model(self.model), *_each("--concept", concepts)]
        words += ["--method", self.method, *self._recipe()]
        words += _given("--instead", self.instead.strip())
        words += _given("--density", _number(self.density, "density"))
        words += _given("--steps", _number(self.steps, "steps"))
        if watch := _number(self.watch, "the steps between two looks"):
            words += ["--until-unseen", f"--set=unseen.every={watch}"]
        words += _each("--set", [_setting(kind, *pair) for pair in (self.more or {}).items()])
        return [*words, "--out", str(places.new_run(self.name))]

    def _recipe(self) -> list[str]:
        if self.intent not in INTENTS:
            raise ConfigError(f"{self.intent!r} is none of {', '.join(INTENTS)}; reload the page")
        name = recipe_of(self.method, self.intent)
        return ["--recipe", name] if name and self.model not in EMBEDDED else []


def recipe_of(method: str, intent: str) -> str | None:
    """The ready recipe of a method for a kind of concept, where there is one."""
    name = intent if method == "salun" else f"{method}-{intent}"
    return name if name in shipped_recipes() else None


def _method(name: str) -> type[Method]:
    if name not in METHODS:
        raise ConfigError(f"{name[:80]!r} is none of the methods {', '.join(METHODS)}")
    return method_kind(name)


def _setting(kind: type[Method], name: str, value: str) -> str:
    """`name=value`, where the method has such a setting: nothing else of the recipe may be set, as
    some of it are paths."""
    if name not in {field.name for field in fields(kind)}:  # type: ignore[arg-type]
        raise ConfigError(
            f"{kind.name} has no setting {name[:80]!r}; `erasure methods {kind.name}`"
        )
    return f"{name}={value}"


def _number(text: str, name: str) -> str:
    try:
        return text if not text or float(text) > 0 else _no_number(text, name)
    except ValueError:
        return _no_number(text, name)


def _no_number(text: str, name: str) -> str:
    raise ConfigError(f"{name} is {text[:80]!r}, but must be a number above 0, or empty")


def _given(option: str, value: str) -> list[str]:
    return [f"{option}={value}"] if value else []


def _each(option: str, values: list[str]) -> list[str]:
    if len(values) > _SETTINGS:
        raise ConfigError(f"{option} is given {len(values)} times; {_SETTINGS} is the most")
    return [f"{option}={value}" for value in values]


def _printable(text: str) -> bool:
    return all(letter.isprintable() for letter in text)
