"""Rows of the benchmark: a method, its mask, its tuned settings, and where to search them.

`presets/NAME.toml` holds one row each; `presets/tuned/*.toml` what `--tune` found, by setting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

from erasure.classifiers import METHODS, Method, TrainingRecipe, make_method
from erasure.classifiers.exact import ExactMethod
from erasure.classifiers.exact_methods import EXACT
from erasure.errors import ConfigError
from pipelines.classifiers.raw_data import Kind
from pipelines.recipe import build, load_toml
from prompts.nearest import nearest

FOLDER: Final = Path(__file__).parent / "presets"
RETRAIN: Final = "retrain"
"""The row every other is held against."""
MaskKind = Literal["none", "salient", "random", "inverse"]
_OF_TABLES: Final = ("forest", "extra-trees")
Value = int | float | str | bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Values that a setting may take in a search."""

    low: float
    high: float
    scale: Literal["log", "linear"] = "log"

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.scale == "log" and self.low <= 0):
            raise ConfigError(
                f"a search from {self.low} to {self.high} on a {self.scale} scale is empty; give "
                "low below high, and above 0 for log"
            )

    def at(self, place: float) -> float:
        """The value at a place in [0, 1]."""
        if self.scale == "linear":
            return self.low + place * (self.high - self.low)
        return float(self.low * (self.high / self.low) ** place)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """One row."""

    name: str
    method: str
    """Key into `METHODS`, or into `EXACT`."""
    settings: Mapping[str, Value] = field(default_factory=dict)
    """Of the method; what is missing keeps the method's default."""
    mask: MaskKind = "none"
    """A mask beside the method; SalUn makes its own."""
    density: float = 0.5
    """Share of the weights in that mask."""
    search: Mapping[str, Span] = field(default_factory=dict)
    """Setting, or `density`, -> where to look for it."""
    training: Mapping[str, Value] = field(default_factory=dict)
    """What a method of `EXACT` wants otherwise than the recipe of the benchmark."""

    @property
    def own_training(self) -> bool:
        """Whether the method has to train the model itself, and so begins with another original."""
        return self.method in EXACT

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
        given: dict[str, Any] = {"seed": seed}
        if any(one.name == "recipe" for one in fields(kind)):  # type: ignore[arg-type]
            given["recipe"] = {**asdict(training), **self.training}
        return build(kind, {**given, **self.settings}, self.name)

    def plain(self) -> dict[str, Any]:
        """What decides the result, as plain values."""
        masked = {} if self.mask == "none" else {"mask": self.mask, "density": self.density}
        recipe = {"recipe": dict(self.training)} if self.training else {}
        return {"method": self.method, "settings": dict(self.settings), **masked, **recipe}


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """A preset file without its free tables."""

    method: str
    mask: MaskKind = "none"
    density: float = 0.5


def load_presets(
    names: Sequence[str] = (), *, setting: str = "", tuned: Sequence[Path] = ()
) -> list[Preset]:
    """Rows by name, all but the controls if none is named, tuned for a setting where it is known.

    Methods that train the model themselves come last.

    Args:
        names: of files in the presets folder; `all` for every one of them.
        setting: such as `fashion-mnist/resnet18/10%`, a table of the tuned files.
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
    found: dict[str, Mapping[str, Value]] = {}
    for file in (*sorted((FOLDER / "tuned").glob("*.toml")), *tuned):
        found |= load_toml(file).get(setting, {})
    made = [row.with_values(found.get(name, {})) for name, row in rows.items()]
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
    settings, search, training = (table.pop(k, {}) for k in ("settings", "search", "training"))
    base = build(_File, table, path.stem)
    spans = {name: build(Span, span, f"search.{name}") for name, span in search.items()}
    return Preset(
        name=path.stem,
        method=base.method,
        settings=settings,
        mask=base.mask,
        density=base.density,
        search=spans,
        training=training,
    )
