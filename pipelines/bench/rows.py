"""The rows of a benchmark: the base, models without the concept, guards, and every method."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from erasure.errors import ConfigError
from erasure.methods import METHODS, Method
from erasure.storage.tables import build
from pipelines.bench.settings import BenchRecipe, pairs_of
from pipelines.configs.method_table import kind_of, load_method
from pipelines.drawing.guards import GUARDS
from prompts.nearest import nearest

Kind = Literal["base", "retrained", "twin", "random", "guard", "method"]
MODELS: Final[tuple[Kind, ...]] = ("base", "retrained", "twin")
"""Rows that are models as they were given."""
RANDOM: Final = "random"
"""Kind of the row of random weights, which has no cell: those of methods say what was measured."""
RANDOM_NAME: Final = "random weights"
"""What the table calls it; a row `random` might be of the mask."""
UNERASED: Final[tuple[Kind, ...]] = (*MODELS, RANDOM)
"""Rows in which nothing is erased."""
USUAL_GUARDS: Final = ("negative-prompt", "sld-medium", "sld-max")
"""Guards that have a row where none is named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row: a model as it is, a guard over the base, or a method with a mask."""

    kind: Kind
    name: str
    """What the table calls it: `base`, `sld-max`, `esd`."""
    mask: str = ""
    """One of `MASKS`; empty where nothing is erased."""
    code: str | None = None
    """FILE.py:Class of a method that is no part of the package."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the method in place of its defaults."""
    density: float | None = None
    """Share of the weights that the mask selects; the recipe's default if None."""
    by_density: bool = False
    """Whether there are rows that differ in it alone. It then is no setting that is searched."""

    @property
    def label(self) -> str:
        """Name and mask, as `esd, salient`."""
        return f"{self.name}, {self.weights}" if self.mask else self.name

    @property
    def weights(self) -> str:
        """The mask, with its density where this tells rows apart, as `salient 0.1`."""
        return f"{self.mask} {self.density:g}" if self.by_density else self.mask

    def with_values(self, values: Mapping[str, Any]) -> "Row":
        """The row with other settings; `density` is the mask's."""
        rest = dict(values)
        density = rest.pop("density", self.density)
        return replace(self, settings={**self.settings, **rest}, density=density)


def rows_of(recipe: BenchRecipe) -> list[Row]:
    """All rows, those in which nothing is erased first, then guards, then methods mask by mask.

    Raises:
        ConfigError: a name is that of no row, a file brings no method, or settings are given for
            a method that has no row, or that it refuses.
    """
    own = _own_methods(recipe)
    known = (*MODELS, *GUARDS, *METHODS, *own)
    for name in recipe.only:
        if name not in known:
            raise ConfigError(f"there is no row {name!r}; {nearest(name, known)}")
    for name, settings in recipe.methods.items():
        if name not in (*METHODS, *own):
            raise ConfigError(
                f"[methods.{name}] is of no method; {nearest(name, (*METHODS, *own))}"
            )
        build(kind_of(name, own.get(name)), settings, f"methods.{name}")  # refuses before any cell
    for name in ("retrained", "twin"):
        if name in recipe.only and not getattr(recipe, name):
            raise ConfigError(f"the row {name} is named, and there is no --{name} CONCEPT=MODEL")
    rows = list(_rows(recipe, own))
    usual = recipe.masks == BenchRecipe().masks and not recipe.densities
    if not usual and not any(row.kind == "method" for row in rows):
        raise ConfigError(
            "masks are given and would not be read, as no row of --only is a method; name one, or "
            "leave --masks and --densities out"
        )
    if recipe.rate_list and not any(map(_has_rate, rows)):
        raise ConfigError(
            "tune_rates are given and would not be read, as no row is a method that trains by a "
            "learning rate; name one by --only, or leave them out"
        )
    return rows


def models_of(recipe: BenchRecipe, concept: str) -> dict[Kind, str]:
    """The models of a concept that are rows by themselves."""
    models: dict[Kind, str] = {"base": recipe.model}
    for kind in MODELS[1:]:
        model = pairs_of(getattr(recipe, kind), kind).get(concept)
        if model is not None:
            models[kind] = model
    return models


def _rows(recipe: BenchRecipe, own: Mapping[str, str]) -> Iterator[Row]:
    only = set(recipe.only)
    for kind in MODELS:
        there = kind == "base" or bool(getattr(recipe, kind))
        if there and (not only or kind in only or kind == "base"):
            yield Row(kind=kind, name=kind)
    for guard in GUARDS:
        if guard in only or (not only and guard in USUAL_GUARDS):
            yield Row(kind="guard", name=guard)
    for mask, density in _masks_of(recipe):
        for name in (*METHODS, *own):
            if not only or name in only:
                yield Row(
                    kind="method",
                    name=name,
                    mask=mask,
                    code=own.get(name),
                    settings=dict(recipe.methods.get(name, {})),
                    density=density,
                    by_density=density is not None,
                )


def _has_rate(row: Row) -> bool:
    return row.kind == "method" and hasattr(kind_of(row.name, row.code), "learning_rate")


def _masks_of(recipe: BenchRecipe) -> Iterator[tuple[str, float | None]]:
    """Every mask with every density; that of all weights has none."""
    for mask in recipe.masks:
        densities = recipe.density_list if mask != "all" else ()
        for density in densities or (None,):
            yield mask, density


def _own_methods(recipe: BenchRecipe) -> dict[str, str]:
    """Name -> code of the methods that are added.

    Raises:
        ConfigError: as `load_method`, or two methods have one name.
    """
    own: dict[str, str] = {}
    for code in recipe.add:
        kind: type[Method] = load_method(code)
        if kind.name in (*METHODS, *own, *MODELS, RANDOM_NAME, *GUARDS):
            raise ConfigError(
                f"the method of {code} is called {kind.name!r}, as another row is; give its class "
                "another name"
            )
        own[kind.name] = code
    return own
