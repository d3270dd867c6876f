"""Rows of the benchmark: a method, its mask, its tuned settings, and which of them are searched.

`presets/NAME.toml` holds one row each, and names what it sets otherwise than the method's own
defaults; `presets/tuned/*.toml` holds what `--tune` found, one setting a file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

from erasure.classifiers import METHODS, Method, TrainingRecipe, make_method
from erasure.classifiers.exact.exact import ExactMethod
from erasure.classifiers.exact.exact_methods import EXACT
from erasure.errors import ConfigError
from erasure.storage.tables import build
from pipelines.classifiers.bench.search_space import Space, Value, space_of
from pipelines.classifiers.bench.tuned_values import TunedFor, TunedValues
from pipelines.classifiers.data.raw_data import Kind
from pipelines.configs.recipe_files import load_toml
from prompts.nearest import nearest

FOLDER: Final = Path(__file__).parents[1] / "presets"
RETRAIN: Final = "retrain"
"""The row every other is held against."""
MaskKind = Literal["none", "salient", "random", "inverse"]
_OF_TABLES: Final = ("forest", "extra-trees")


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """One row."""

    name: str
    method: str
    """Key into `METHODS`, or into `EXACT`."""
    settings: Mapping[str, Value] = field(default_factory=dict)
    """The method's settings that differ from its defaults, its epochs, and what is searched. What
    is missing keeps the method's default."""
    mask: MaskKind = "none"
    """A mask beside the method; SalUn makes its own."""
    density: float = 0.5
    """Share of the weights in that mask."""
    search: Mapping[str, Space] = field(default_factory=dict)
    """Setting, or `density`, -> where to look for it, by the rule of `search_space`."""
    training: Mapping[str, Value] = field(default_factory=dict)
    """What a method of `EXACT` wants otherwise than the recipe of the benchmark."""

    @property
    def own_training(self) -> bool:
        """Whether the method has to train the model itself, and so begins with another original."""
        return self.method in EXACT

    @property
    def trains_network(self) -> bool:
        """Whether that model is a network, and no head and no tree."""
        return self.own_training and "start" in EXACT[self.method].needs

    def applies_to(self, kind: Kind) -> bool:
        """Whether the method can learn from data of a kind: trees take tables alone."""
        return kind == "table" or self.method not in _OF_TABLES

    def with_values(self, values: Mapping[str, Value]) -> "Preset":
        """The row with other values; `density` is the mask's where there is one."""
        values = dict(values)
        density = self.density
        if self.mask != "none" and "density" in values:
            density = float(values.pop("density"))  # type: ignore[arg-type]
        return replace(self, settings={**self.settings, **values}, density=density)

    def value(self, name: str) -> Value:
        """What a searched setting has now; `density` is the mask's where there is one.

        Raises:
            ConfigError: the row has no such setting.
        """
        if name == "density" and self.mask != "none":
            return self.density
        if name not in self.settings:
            raise ConfigError(f"{self.name} has no setting {name!r} to search; take it out")
        return self.settings[name]

    def at_most(self, epochs: int | None) -> "Preset":
        """The row with no more epochs than that, where it has any.

        Where SCRUB would have more epochs of ascent than epochs, they stay their share of all.
        """
        own = self.settings.get("epochs")
        if epochs is None or not isinstance(own, int) or own <= epochs:
            return self
        ascents = getattr(self.make(), "ascents", 0)
        fewer = {"ascents": max(1, ascents * epochs // own)} if ascents > epochs else {}
        return self.with_values({"epochs": epochs, **fewer})

    def make(self) -> Method:
        """The method with these settings.

        Raises:
            ConfigError: an unknown setting or a value outside its range.
        """
        return make_method(self.method, **self.settings)

    def make_own(self, training: TrainingRecipe, seed: int) -> ExactMethod:
        """The same for a method that trains the model itself.

        Args:
            training: the recipe of the benchmark, where the method trains networks.
            seed: of the run, for all that the method draws.

        Raises:
            ConfigError: an unknown setting or a value outside its range.
        """
        kind = EXACT[self.method]
        own: dict[str, Any] = {"seed": seed}
        if any(one.name == "recipe" for one in fields(kind)):  # type: ignore[arg-type]
            own["recipe"] = {**asdict(training), **self.training}
        return build(kind, {**own, **self.settings}, self.name)

    def decides(self, training: TrainingRecipe, seed: int) -> dict[str, Any]:
        """All that decides the result, the method's own defaults too, as plain values.

        Args:
            training: the recipe of the benchmark.
            seed: of the run.

        Raises:
            ConfigError: an unknown setting or a value outside its range.
        """
        made = self.make_own(training, seed) if self.own_training else self.make()
        return {**self.plain(), "settings": repr(made)}

    def plain(self) -> dict[str, Any]:
        """What the row says of itself, as plain values."""
        masked = {} if self.mask == "none" else {"mask": self.mask, "density": self.density}
        recipe = {"recipe": dict(self.training)} if self.training else {}
        return {"method": self.method, "settings": dict(self.settings), **masked, **recipe}


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """A preset file without its free tables."""

    method: str
    mask: MaskKind = "none"
    density: float = 0.5
    search: tuple[str, ...] = ()


def load_presets(
    names: Sequence[str] = (), *, found_for: TunedFor | None = None, tuned: Sequence[Path] = ()
) -> list[Preset]:
    """Rows by name, all but the controls if none is named, tuned for a setting where it is known.

    Methods that train the model themselves come last.

    Args:
        names: of files in the presets folder; `all` for every one of them.
        found_for: the setting; values that were found for any other are not used.
        tuned: further files of tuned values, which win over those of the package.

    Raises:
        ConfigError: there is no such row, or a file is not what it should be.
    """
    known = {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}
    for name in names:
        if name != "all" and name not in known:
            raise ConfigError(f"there is no method {name!r}; {nearest(name, known)}")
    rows = {name: _read(known[name]) for name in (known if "all" in names or not names else names)}
    if not names:
        rows = {name: row for name, row in rows.items() if row.mask == "none"}
    values: dict[str, Mapping[str, Value]] = {}
    for file in (*sorted((FOLDER / "tuned").glob("*.toml")), *tuned):
        stored = TunedValues.read(file)
        if stored.found_for == found_for:
            values |= stored.rows
    made = [row.with_values(values.get(name, {})) for name, row in rows.items()]
    for row in made:  # an unknown setting shows here, not after an hour
        if row.own_training:
            row.make_own(TrainingRecipe(), seed=0)
        else:
            row.make()
    order = [*METHODS, *EXACT]
    place = {row.name: order.index(row.method) for row in made}
    return sorted(made, key=lambda row: (row.own_training, row.mask != "none", place[row.name]))


def _read(path: Path) -> Preset:
    table = load_toml(path)
    settings, training = (table.pop(key, {}) for key in ("settings", "training"))
    base = build(_File, table, path.stem)
    row = Preset(
        name=path.stem,
        method=base.method,
        settings=settings,
        mask=base.mask,
        density=base.density,
        training=training,
    )
    if row.own_training:
        return row
    made, kind = row.make(), METHODS[row.method]
    for name in ("epochs", *base.search):
        if name != "density" or row.mask == "none":
            settings = {name: getattr(made, name), **settings} if hasattr(made, name) else settings
    row = replace(row, settings=settings)
    return replace(row, search={n: space_of(kind, n, row.value(n)) for n in base.search})
