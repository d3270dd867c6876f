"""From options and TOML files to checked settings of a run."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch

from erasure.classifiers import TrainingRecipe, make_method
from erasure.classifiers.exact.exact_methods import EXACT
from erasure.classifiers.protocol import MaskMaking
from erasure.errors import ConfigError
from erasure.storage.tables import build
from pipelines.classifiers.bench.bench_config import BenchConfig
from pipelines.classifiers.bench.presets import Preset, load_presets
from pipelines.classifiers.data.data import DataConfig
from pipelines.classifiers.networks.architectures import ModelConfig
from pipelines.configs.recipe_files import merge, stated_recipe
from pipelines.run.models import pick_device

RECIPES: Final = Path(__file__).parent / "recipes"
_DEFAULTS: Final[Mapping[str, Any]] = {"training": {"epochs": 15, "batch_size": 128}}
_READ_WITH: Final = {
    "momentum": ("optimizer", "sgd"),
    "damping": ("inverse", "newton"),
    "iterations": ("inverse", "newton"),
    "tolerance": ("inverse", "newton"),
}
"""Setting of a method -> another one, and the value of it without which the first is not read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainRun:
    """How to train one classifier."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetRun:
    """How to let one forget."""

    model: str
    forget: str
    method: str
    settings: tuple[str, ...] = ()
    """Each `name=value`."""
    mask: str | None = None
    density: float | None = None
    seed: int = 0
    forget_seed: int = 0
    data_path: str | None = None
    allow_code: bool = False
    device: str = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateRun:
    """What to score."""

    model: str
    retrained: str | None = None
    forget: str | None = None
    forget_seed: int | None = None
    shadows: int = 0
    exact_attack: bool = False
    data_path: str | None = None
    allow_code: bool = False
    device: str = "auto"


def resolve_train(recipe: str | None, options: Mapping[str, Any]) -> TrainRun:
    """Defaults, a TOML file over them, and what was given over both."""
    return build(TrainRun, merge(merge(_DEFAULTS, read_training(recipe)), options))


def resolve_bench(recipe: str | None, options: Mapping[str, Any]) -> BenchConfig:
    """The same for a benchmark; `recipe` may be the name of a ready one."""
    return build(BenchConfig, merge(merge(_DEFAULTS, read_training(recipe)), options))


def bench_device(name: str | None) -> torch.device:
    """The device; with several processes the accelerator of this one."""
    device = pick_device(name or "auto")
    local = os.environ.get("LOCAL_RANK", "")
    return torch.device("cuda", int(local)) if device.type == "cuda" and local else device


def read_training(recipe: str | None) -> dict[str, Any]:
    """The tables of a recipe file, or of a ready one by its name; none for None.

    Raises:
        ConfigError: there is no such recipe, or it is no TOML.
    """
    if recipe is None:
        return {}
    path = Path(recipe)
    ready = sorted(file.stem for file in RECIPES.glob("*.toml"))
    if not path.is_file():
        path = RECIPES / f"{recipe}.toml"
    if not path.is_file():
        raise ConfigError(
            f"there is no recipe {recipe!r}; give a TOML file, or one of {', '.join(ready)}"
        )
    return stated_recipe(path)


def preset_of(run: ForgetRun) -> Preset:
    """The row of that name, or the bare method, with the settings that were given."""
    values = settings_of(run.settings)
    if run.method in EXACT:
        raise ConfigError(
            f"{run.method} forgets what it has trained itself; train with `erasure classify train "
            f"--method {run.method}`, and give `unlearn` the folder that this makes"
        )
    rows = load_presets(["all"])
    row = next((row for row in rows if row.name == run.method), None)
    if row is None:
        make_method(run.method)  # raises, and names the nearest
        row = Preset(name=run.method, method=run.method)
    row = replace(row, settings={**row.settings, **values})
    if run.mask is not None:
        if run.mask not in ("none", "salient", "random", "inverse"):
            raise ConfigError(f"--mask is {run.mask}; give salient, random, inverse or none")
        row = replace(row, mask=run.mask)  # type: ignore[arg-type]
    _refuse_unread(row, values, run.density)
    return row if run.density is None else replace(row, density=run.density)


def _refuse_unread(row: Preset, settings: Mapping[str, Any], density: float | None) -> None:
    """Raise ConfigError for what the method would not look at.

    Args:
        row: the method with all of its settings, and the mask beside it.
        settings: those of `--set`.
        density: that of `--density`.
    """
    method = row.make()
    for name in settings.keys() & _READ_WITH.keys():
        other, wanted = _READ_WITH[name]
        if (has := getattr(method, other)) != wanted:
            raise ConfigError(
                f"--set {name}={settings[name]} would not be read, as the {other} is {has}; leave "
                f"it out, or give --set {other}={wanted} as well"
            )
    own_mask = isinstance(method, MaskMaking)
    if own_mask and row.mask != "none" and "density" in settings:
        raise ConfigError(
            f"--set density={settings['density']} would not be read, as the mask is --mask "
            f"{row.mask}; give --density in its place"
        )
    if density is not None and row.mask == "none":
        remedy = f"give --set density={density:g} in its place"
        raise ConfigError(
            f"--density is {density:g} and would not be read, as {row.name} "
            + (f"makes its own mask; {remedy}" if own_mask else "has no mask; leave it out")
            + ", or give --mask salient as well"
        )


def settings_of(texts: Sequence[str]) -> dict[str, Any]:
    """`--set` options as names and values.

    Raises:
        ConfigError: one of them has no value, or two are of one name.
    """
    settings: dict[str, Any] = {}
    for name, value in map(_setting, texts):
        if name in settings:
            raise ConfigError(
                f"--set {name} is given twice, as {settings[name]!r} and {value!r}; give it once"
            )
        settings[name] = value
    return settings


def _setting(text: str) -> tuple[str, Any]:
    """`lr=0.01` -> its name and value: a number, true, false, or text."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise ConfigError(f"--set {text!r} names no value; write it as lr=0.01")
    try:
        return name.strip().replace("-", "_"), json.loads(value)
    except ValueError:
        return name.strip().replace("-", "_"), value.strip()
