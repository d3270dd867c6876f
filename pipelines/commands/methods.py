"""`erasure methods`: the methods of erasing, and the settings of each."""

from dataclasses import fields
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args, get_origin

import typer

from pipelines.commands.options import AsJson, fitted, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from erasure.methods import Method

_NEEDS: Final = {
    "pictures": "pictures of the concept and of what is kept",
    "anchors": "pictures of what stands in for the concept",
    "prompts": "prompts of the concept",
    "frozen": "the answers of the model before the erasure",
}
"""What a method needs, in words; the keys are those of `erasure.methods.protocol.Need`."""
_DEFAULTS: Final = {
    "defaults-canvas": "the canvas, which demo and demo-flow draw",
    "defaults-canvas-style": "a style of the canvas",
    "defaults-labels": "a model that is told classes by number, such as ddpm-demo",
    "defaults": "any other model",
}
"""Shipped file of defaults, which stand before those of a method's class -> what it is for."""


def methods(
    name: Annotated[
        str | None, typer.Argument(help="A method, or FILE.py:Class of your own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the methods with their costs, or show one of them.

    A setting is given as `--set name=value`, or in the table `[method]` of a recipe.
    """
    from erasure.methods import METHODS
    from pipelines.configs.method_table import kind_of

    if name is None:
        kinds = METHODS.values()
        if as_json:
            say({kind.name: described(kind) for kind in kinds}, as_json=True)
        else:
            say({kind.name: f"{kind.title}; {cost_of(kind)}" for kind in kinds}, as_json=False)
        return
    kind = kind_of(name, name if ":" in name else None)
    about = described(kind)
    if as_json:
        say(about, as_json=True)
        return
    for line in _lines(about):
        typer.echo(fitted(line, 6 if line.startswith(" ") else 0))


def described(kind: "type[Method]") -> dict[str, Any]:
    """All that is known of a method: plain JSON values."""
    from pipelines.configs.source_fields import default_text, field_docs

    docs = field_docs(kind)
    example = f"erasure erase demo --concept church --method {kind.name} --out out/church"
    return {
        "name": kind.name,
        "title": kind.title,
        "source": kind.source,
        "about": _paragraphs(kind.__doc__ or ""),
        "needs": sorted(kind().needs),
        "cost": cost_of(kind),
        "mask": kind.default_mask,
        "scope": kind.default_scope,
        "settings": {
            field.name: {
                "type": _type_text(field.type),
                "values": _values_text(field.type),
                "default": default_text(field),
                "about": docs[field.name],
            }
            for field in fields(kind)  # type: ignore[arg-type]
        },
        "other_defaults": dict(_other_defaults(kind)),
        "recipes": list(_recipes(kind.name)),
        "example": example,
    }


def cost_of(kind: "type[Method]") -> str:
    """What a run of the method's own settings takes on a Stable Diffusion checkpoint, in words.

    Passes are single samples through the network, a guided prediction two; a backward pass counts
    for none.
    """
    from erasure.methods.gradient.by_gradient import ByRollout
    from erasure.training.train_config import TrainConfig
    from pipelines.configs.recipe_files import shipped

    known = shipped("defaults")["methods"].get(kind.name, {})
    method: Any = kind(**known)
    if isinstance(method, ByRollout):
        _, learned, asked = method.counted
        passes = method.batch_size * (method.rollout_passes + learned + asked)
        return f"{method.steps:,} steps of {passes:,} passes"
    if isinstance(method, TrainConfig):
        return f"{method.steps:,} steps of {method.batch_size} pictures"
    steps = getattr(method, "steps", 0)
    return f"{steps} steps a concept and a solve" if steps else "a solve without steps"


def _other_defaults(kind: "type[Method]") -> "Iterator[tuple[str, dict[str, Any]]]":
    """What models it is for, and name of a setting -> what they take for the class's default."""
    from pipelines.configs.recipe_files import shipped

    usual = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    for file, what in _DEFAULTS.items():
        own = shipped(file)["methods"].get(kind.name, {})
        if differing := {name: value for name, value in own.items() if value != usual[name]}:
            yield what, differing


def _recipes(method: str) -> "Iterator[str]":
    """The ready recipes of a method, which hold what is published for a kind of concept."""
    from pipelines.configs.recipe_files import shipped, shipped_recipes

    for name in shipped_recipes():
        if shipped(name).get("method", {}).get("name") == method:
            yield name


def _lines(about: dict[str, Any]) -> list[str]:
    lines = [f"{about['name']}: {about['title']}", *about["about"]]
    if not any(part.startswith("Source: ") for part in about["about"]):
        lines.append(f"Source: {about['source']}")
    lines.append(f"Needs: {'; '.join(_NEEDS.get(need, need) for need in about['needs'])}")
    lines.append(f"Cost: {about['cost']}, at the settings below")
    lines += [f"Mask: {about['mask']}, of the weights in scope {about['scope']}", "", "Settings:"]
    for name, setting in about["settings"].items():
        lines.append(f"  {name} ({setting['values']}, default {_typed(setting['default'])})")
        if setting["about"]:
            lines.append(f"      {setting['about']}")
    lines += _other_lines(about["other_defaults"])
    if about["recipes"]:
        lines += ["", f"Ready recipes: {', '.join(about['recipes'])}"]
    return [*lines, "", f"Example: {about['example']}"]


def _other_lines(others: "Mapping[str, Mapping[str, Any]]") -> list[str]:
    if not others:
        return []
    lines = ["", "Other defaults than these, where a recipe or --set gives none:"]
    for what, values in others.items():
        each = ", ".join(f"{name} {_typed(str(value))}" for name, value in values.items())
        lines.append(f"  for {what}: {each}")
    return lines


def _typed(default: str) -> str:
    """A default as one types it after `--set name=`."""
    return {"True": "true", "False": "false"}.get(default, default.strip("'"))


def _paragraphs(doc: str) -> list[str]:
    """Those of a docstring, without its example in Python."""
    text = doc.partition("\n    Examples:\n")[0]
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def _values_text(kind: Any) -> str:  # noqa: ANN401
    """What a field may be, in words: `last, tail or all`."""
    if kind is bool:
        return "true or false"
    if get_origin(kind) is Literal:
        return _one_of([str(choice) for choice in get_args(kind)])
    if get_origin(kind) is UnionType:
        return _one_of(
            ["none" if part is NoneType else _values_text(part) for part in get_args(kind)]
        )
    return _type_text(kind)


def _one_of(choices: "Sequence[str]") -> str:
    *first, last = choices
    return f"{', '.join(first)} or {last}" if first else last


def _type_text(kind: Any) -> str:  # noqa: ANN401
    """A field's type as one writes it."""
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
