"""Rows of the benchmark: a method, its mask, its tuned settings, and where to search them.

`presets/NAME.toml` holds one row each; `presets/tuned/*.toml` what `--tune` found, by setting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from erasure.classifiers import METHODS, Method, make_method
from erasure.errors import ConfigError
from pipelines.recipe import build, load_toml
from prompts.nearest import nearest

FOLDER: Final = Path(__file__).parent / "presets"
RETRAIN: Final = "retrain"
"""The row every other is held against."""
MaskKind = Literal["none", "salient", "random", "inverse"]
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
    """Key into `METHODS`."""
    settings: Mapping[str, Value] = field(default_factory=dict)
    """Of the method; what is missing keeps the method's default."""
    mask: MaskKind = "none"
    """A mask beside the method; SalUn makes its own."""
    density: float = 0.5
    """Share of the weights in that mask."""
    search: Mapping[str, Span] = field(default_factory=dict)
    """Setting, or `density`, -> where to look for it."""

    def with_values(self, values: Mapping[str, Value]) -> "Preset":
        """The row with other values; `density` is the mask's where there is one."""
        values = dict(values)
        density = self.density
        if self.mask != "none" and "density" in values:
            density = float(values.pop("density"))  # type: ignore[arg-type]
        return replace(self, settings={**self.settings, **values}, density=density)

    def at_most(self, epochs: int | None) -> "Preset":
        """The row with no more epochs than that, where it has any."""
        own = self.settings.get("epochs")
        if epochs is None or not isinstance(own, int):
            return self
        return self.with_values({"epochs": min(own, epochs)})

    def make(self) -> Method:
        """The method with these settings.

        Raises:
            ConfigError: an unknown setting or a value outside its range.
        """
        return make_method(self.method, **self.settings)

    def plain(self) -> dict[str, Any]:
        """What decides the result, as plain values."""
        masked = {} if self.mask == "none" else {"mask": self.mask, "density": self.density}
        return {"method": self.method, "settings": dict(self.settings), **masked}


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
    for row in made:
        row.make()  # an unknown setting shows here, not after an hour
    order = list(METHODS)
    return sorted(made, key=lambda row: (row.mask != "none", order.index(row.method)))


def _read(path: Path) -> Preset:
    table = load_toml(path)
    settings, search = table.pop("settings", {}), table.pop("search", {})
    base = build(_File, table, path.stem)
    spans = {name: build(Span, span, f"search.{name}") for name, span in search.items()}
    return Preset(
        name=path.stem,
        method=base.method,
        settings=settings,
        mask=base.mask,
        density=base.density,
        search=spans,
    )
