"""A whole recipe from defaults, a file and the command line, and its text for a run's folder."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from erasure.errors import ConfigError
from erasure.methods.protocol import asks_base
from erasure.storage.tables import build
from pipelines.configs.concepts import named_concepts, over_file
from pipelines.configs.method_table import build_method, converted, kind_in
from pipelines.configs.recipe import as_tables, dump_published, dump_toml
from pipelines.configs.recipe_files import merge, shipped
from pipelines.configs.settings import DrawingConfig, EraseRecipe
from pipelines.configs.unread import SOURCE, refuse_unread, unread_by_erasure, value_at
from prompts.concepts.canvas_concepts import is_style


def _defaults(canvas: bool, guidance: float | None = None, *, labels: bool) -> dict[str, Any]:
    """The shipped defaults, at the guidance of the model's architecture where it is given."""
    if canvas:
        return shipped("defaults-canvas")
    drawing = {"drawing": {"guidance": guidance}}
    own = shipped("defaults-labels" if labels else "defaults")
    return merge(own, {"data": drawing, "grid": drawing})


def resolve(
    tables: Mapping[str, Any],
    *,
    canvas: bool,
    labels: bool = False,
    under: Mapping[str, Any] | None = None,
    shared: bool = False,
    scopes: Mapping[str, str] | None = None,
    guidance: float | None = None,
) -> EraseRecipe:
    """The whole recipe: defaults of the model's and concept's kind, and over them what was given.

    The seed of the recipe is the seed of the mask and of the method unless they name their own.

    Args:
        tables: what was given.
        canvas: whether the model is of the canvas.
        labels: whether it is told classes by number.
        under: a recipe file below it, if there is one.
        shared: whether that file serves other runs too, which may read what this one does not;
            `refuse_unread_by_all` then looks at it.
        scopes: the `scope_defaults` of the model's architecture.
        guidance: the `own_guidance` of the model's architecture; the canvas has one of its own.

    Raises:
        ConfigError: see `build`; the method is unknown, or has no such setting; or what was given
            would not be read, such as the density of a mask of all weights.
    """
    over, file = named_concepts(converted(tables)), named_concepts(converted(under or {}))
    file = over_file(over, file)
    known = _defaults(canvas, guidance, labels=labels)
    made = _resolved(merge(file, over), known, canvas, scopes)
    alone: dict[str, str] = {}
    if file and not shared:
        with suppress(ConfigError):  # what is wrong with the file alone may be mended over it
            by_itself = {**file, "concept": made.concept}
            theirs = _resolved(by_itself, known, canvas, scopes)
            alone = _unread(theirs) | _passed_over(theirs)
            usual = as_tables(_resolved(_choice(by_itself), known, canvas, scopes))
            for key in _passed_over(theirs):
                if value_at(file, key) == value_at(usual, key):  # as a run's own recipe has it
                    alone.pop(key)
    refuse_unread(over, file, _unread(made) | _passed_over(made), alone)
    return made


def refuse_unread_by_all(under: Mapping[str, Any], recipes: Sequence[EraseRecipe]) -> None:
    """Raise ConfigError for a key of a shared recipe file that none of its runs would read."""
    first, *others = (_unread(recipe) for recipe in recipes)
    by_all = {key: why for key, why in first.items() if all(key in one for one in others)}
    refuse_unread({}, named_concepts(converted(under)), by_all, by_all)


def _unread(recipe: EraseRecipe) -> dict[str, str]:
    """Key that the run of a recipe would not read -> why."""
    return unread_by_erasure(
        as_tables(recipe),
        pictures="pictures" in recipe.needs,
        anchors="anchors" in recipe.needs,
        instead=getattr(recipe.method, "reads_instead", True),  # one of the user's own may
        rows=getattr(recipe.method, "reads_rows", False),
        frozen=asks_base(recipe.method),
        trains=recipe.training is not None,
    ) | _empty(recipe)


def _passed_over(recipe: EraseRecipe) -> dict[str, str]:
    """Key that the run of a recipe would not read and its text keeps, as the benchmarks know their
    cells by the text -> why: settings of the method that another one decides over, those of a
    training that is none, and pictures to retain beside a mask alone."""
    unread: Mapping[str, str] = getattr(recipe.method, "unread", {})
    over = {f"method.{name}": why for name, why in unread.items()}
    if recipe.training is None:
        why = f"the method {recipe.method.name} solves at once and takes no steps"
        over |= dict.fromkeys(("checkpointing", "save_every"), why)
    if recipe.retains or "pictures" not in recipe.needs:
        return over
    why = f"the method {recipe.method.name} retains no pictures, and no mask looks at them"
    return over | {f"data.retain.{name}": why for name in SOURCE}


def _choice(tables: Mapping[str, Any]) -> dict[str, Any]:
    """What chooses the defaults of a recipe."""
    chosen = {key: tables[key] for key in ("concept", "concepts", "code") if key in tables}
    method = tables.get("method", {})
    named = isinstance(method, Mapping) and "name" in method
    return {**chosen, "method": {"name": method["name"]}} if named else chosen


def _empty(recipe: EraseRecipe) -> dict[str, str]:
    """Key of a list that holds nothing -> why it says nothing."""
    lists = {"concepts": "there is a single concept", "loras": "it names no file"}
    return {key: why for key, why in lists.items() if not getattr(recipe, key)}


def _resolved(
    tables: dict[str, Any],
    defaults: dict[str, Any],
    canvas: bool,
    scopes: Mapping[str, str] | None,
) -> EraseRecipe:
    settings, defaults = dict(tables), dict(defaults)
    others = settings.get("concepts")
    concepts = (settings.get("concept"), *(others if isinstance(others, list | tuple) else ()))
    if canvas and any(isinstance(name, str) and is_style(name) for name in concepts):
        defaults = merge(defaults, shipped("defaults-canvas-style"))
    known = defaults.pop("methods")
    kind = kind_in(settings)
    own = {key: value for key, value in settings.pop("method", {}).items() if key != "name"}
    merged = merge(defaults, settings)
    seed = merged.get("seed", 0)
    merged["method"] = build_method(kind, merge(known.get(kind.name, {}), own), seed)
    merged.setdefault("mask", kind.default_mask)
    merged.setdefault("scope", _own_scope(kind, scopes or {}))
    saliency = merged.get("saliency", {})
    if isinstance(saliency, Mapping):  # else `build` says what is wrong
        merged["saliency"] = {"seed": seed, **saliency}
    return build(EraseRecipe, merged)


def _own_scope(kind: Any, scopes: Mapping[str, str]) -> str:  # noqa: ANN401
    """The scope that a method takes by itself, or what the model's architecture has in its place;
    a closed form names that itself."""
    scope: str = kind.default_scope
    if scope in scopes:
        return str(getattr(kind, "joint_scope", scopes[scope]))
    return scope


def recipe_text(recipe: EraseRecipe, header: str | None = None) -> str:
    """The recipe as TOML, without the keys that the run does not read."""
    return dump_toml(recipe, header, without=_unread(recipe))


def published_text(recipe: EraseRecipe) -> str:
    """The same as others may see it: see `dump_published`."""
    return dump_published(recipe, without=_unread(recipe))


def drawing_defaults(
    options: Mapping[str, Any],
    *,
    canvas: bool,
    labels: bool = False,
    guidance: float | None = None,
) -> DrawingConfig:
    """How the grid of the model's kind is drawn; what is given and not None comes first.

    Args:
        guidance: the `own_guidance` of the model's architecture.

    Raises:
        ConfigError: as `DrawingConfig`.
    """
    drawing = _defaults(canvas, guidance, labels=labels)["grid"]["drawing"]
    return build(DrawingConfig, merge(drawing, options))
