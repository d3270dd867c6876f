"""What a benchmark is told: which models, concepts, rows, pictures, and how each row is set."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from erasure.attacks.registry import ATTACKS, attack_kind
from erasure.errors import ConfigError
from erasure.storage.tables import build
from pipelines.audit.settings import FORWARD, PRESETS
from pipelines.configs.recipe_files import merge
from pipelines.configs.settings import parse_seeds
from pipelines.evaluation.settings import SuiteName

INTERSECTION: Final = "intersection"
MASKS: Final = ("all", "salient", "own", "random", "inverse", INTERSECTION)
"""Masks that a row may have: `own` is salient by the method's own loss, `intersection` what each of
several measurements selects, the others are those of `erasure erase --mask`."""
NO_AUDIT: Final = "none"
"""What `audit` is where nothing is attacked."""
_COMMAS: Final = ("concepts", "only", "masks", "judges", "tune_on")
"""Lists whose entries may stand in one word with commas."""
_MODELS: Final = ("model", "concept", "retrained", "twin", "seed")
_SET_BY_ROWS: Final[Mapping[str, tuple[str, ...]]] = {
    "erase": ("model", "concept", "concepts", "method", "mask", "seed", "code", "grid", "loras"),
    "attack": (*_MODELS, "against", "attacks"),
    "distance": (*_MODELS, "base", "audit"),
}
"""Table -> its keys that no recipe of a benchmark may set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchRecipe:
    """All settings of one benchmark; equal recipes give equal tables but for the seconds."""

    model: str = "demo"
    """The model before any erasure, as for `erasure erase`."""
    concepts: tuple[str, ...] = ("church", "dog", "sketch", "weapons")
    """What each row erases, one at a time; on the canvas the weapons are knife, bomb and pistol."""
    only: tuple[str, ...] = ()
    """Rows to make, with commas: methods, guards, base, retrained, twin; all if none is named."""
    masks: tuple[str, ...] = ("all", "salient")
    """Masks of each method, with commas: all, salient, own, random, inverse, intersection; own is
    salient by the method's own loss, intersection in each of three measurements."""
    densities: str | None = None
    """Densities of the masks, such as 0.5,0.1, each a row of its own; the recipe's if none."""
    seeds: str = "0"
    """Seeds of the erasures, such as 0-2."""
    limit: int = 60
    """Pictures of a cell, half of them of the concept."""
    neighbours: int = 12
    """Further pictures of the labels nearest to the concept; 0 for none."""
    suite: SuiteName = "canvas"
    """Suite of prompts, as `erasure prompts` lists them."""
    prompts: str | None = None
    """A CSV or JSONL file of prompts, for the suites that need one."""
    judges: tuple[str, ...] = ()
    """A judge as for `erasure evaluate`; the suite's own if none."""
    labels: str | None = None
    """Labels of a judge that is a model: a file, or a list with commas."""
    steps: int | None = None
    """Steps of a drawing; those of the suite's protocol if none."""
    guidance: float | None = None
    """Guidance of a drawing; that of the suite's protocol if none."""
    size: int | None = None
    """Pixels a side; the model's own if none."""
    retrained: tuple[str, ...] = ()
    """A model that was trained without a concept, as CONCEPT=MODEL."""
    twin: tuple[str, ...] = ()
    """The same from another seed, or the base from another seed, as CONCEPT=MODEL."""
    audit: str = "none"
    """Attacks on each cell: none; or quick, standard or full, and then further attacks with commas,
    such as quick,relearning."""
    tune: int = 0
    """Trials of the search of each row, on other concepts; 0 takes the defaults."""
    tune_rates: str | None = None
    """Learning rates that the search tries after the defaults, and nothing else, such as 6e-5,6e-4;
    in the place of tune."""
    tune_seeds: int = 1
    """Seeds that judge each trial of the search."""
    tune_on: tuple[str, ...] = ("guitar", "cartoon")
    """Concepts of the search; of an object and a style on the canvas, each for its own kind."""
    add: tuple[str, ...] = ()
    """A method of your own, as FILE.py:Class; never from a recipe, as it is code that runs."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where it computes; auto takes the best device there is."""
    config: str | None = None
    """For a single file: a diffusers folder with its configs and tokenizer."""
    vae: str | None = None
    """A file or folder with a VAE, in the place of the model's or where it has none."""
    text_encoders: tuple[str, ...] | None = None
    """A file of a text encoder that a single file lacks, as ComfyUI's split sets have them;
    `text_encoder_2=FILE` where names and sizes leave open which it is."""
    prediction: Literal["epsilon", "v"] | None = None
    """What the model predicts, where it does not say itself."""
    allow_pickle: bool = False
    """Also read .ckpt, .pt and .bin, weights only."""
    cache: str | None = None
    """Folder for drawn pictures and latents; the user's cache folder if none."""
    erase: Mapping[str, Any] = field(default_factory=dict)
    """In a file, the table `[erase]`: keys of a recipe of `erasure erase` for all rows."""
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """In a file, `[methods.NAME]`: settings of a method in place of its defaults."""
    attack: Mapping[str, Any] = field(default_factory=dict)
    """In a file, the table `[attack]`: keys of a recipe of `erasure audit`, such as its budget."""
    distance: Mapping[str, Any] = field(default_factory=dict)
    """In a file, the table `[distance]`: keys of a recipe of `erasure distance`."""

    def __post_init__(self) -> None:
        for name, least in (("limit", 4), ("neighbours", 0), ("tune", 0), ("tune_seeds", 1)):
            value = getattr(self, name)
            if value < least:
                raise ConfigError(f"{name} is {value}; give {least} or more")
        if self.tune and self.rate_list:
            raise ConfigError(
                f"tune is {self.tune} and tune_rates is {self.tune_rates}, which are two searches; "
                "give one of them"
            )
        if self.tune_seeds > 1 and not self.trials:
            raise ConfigError(
                f"tune_seeds is {self.tune_seeds} and would not be read, as tune is 0; give --tune "
                "or --tune-rates as well, or leave it out"
            )
        for name in ("concepts", "masks"):
            values = getattr(self, name)
            if not values:
                raise ConfigError(f"{name} is empty; give at least one")
            if len(set(values)) < len(values):
                raise ConfigError(f"{name} names {', '.join(values)}; name each once")
        for mask in self.masks:
            if mask not in MASKS:
                raise ConfigError(f"the mask is {mask!r}; give some of {', '.join(MASKS)}")
        if self.density_list and set(self.masks) == {"all"}:
            raise ConfigError(
                "densities are given and would not be read, as the one mask is all; give another "
                "mask by --masks, or leave them out"
            )
        parse_seeds(self.seeds)
        attacks_of(self.audit)
        for name in ("retrained", "twin"):
            for concept in pairs_of(getattr(self, name), name):
                if concept not in self.concepts:
                    raise ConfigError(
                        f"{name} is given for {concept!r}, which is none of the concepts "
                        f"{', '.join(self.concepts)}; add it there, or leave the model out"
                    )
        alone = set(pairs_of(self.twin, "twin")) - set(pairs_of(self.retrained, "retrained"))
        if alone:
            raise ConfigError(
                f"the twin of {min(alone)} is given without a retrained model, whose distance to "
                "it would be the unit; give --retrained for it as well"
            )
        for table, names in _SET_BY_ROWS.items():
            for name in names:
                if name in getattr(self, table):
                    raise ConfigError(
                        f"[{table}] names {name}, which each row of the benchmark sets itself; "
                        "leave it out"
                    )
        if self.trials:
            both = set(self.tune_on) & set(self.concepts)
            if both:
                raise ConfigError(
                    f"the search would tune on {min(both)}, which the table judges; give other "
                    "concepts by --tune-on"
                )

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds of the erasures."""
        return parse_seeds(self.seeds)

    @property
    def trials(self) -> int:
        """Trials of the search of a row that trains by a learning rate; 0 where none is made."""
        return 1 + len(self.rate_list) if self.rate_list else self.tune

    @property
    def attacks(self) -> tuple[str, ...]:
        """A preset and the attacks that it lacks; none where nothing is attacked."""
        return attacks_of(self.audit)

    @property
    def density_list(self) -> tuple[float, ...]:
        """Densities by which rows are told apart; none where one of the recipe serves all.

        Raises:
            ConfigError: one is no share that a mask can have, or comes twice.
        """
        return _numbers("densities", self.densities, "shares above 0 and at most 1", "0.5,0.1")

    @property
    def rate_list(self) -> tuple[float, ...]:
        """Learning rates of a search that tries nothing else; none where there is no such search.

        Raises:
            ConfigError: one is none that a training can have, or comes twice.
        """
        return _numbers("tune_rates", self.tune_rates, "rates above 0 and at most 1", "6e-5,6e-4")


def attacks_of(audit: str) -> tuple[str, ...]:
    """A preset, and further attacks that it lacks in the order of the registry; none of `none`.

    Raises:
        ConfigError: it begins with no preset, or there is no such attack.
    """
    names = [name for part in audit.split(",") if (name := part.strip())]
    if names == [NO_AUDIT]:
        return ()
    if not names or names[0] not in PRESETS:
        raise ConfigError(
            f"audit is {audit[:80]!r}; give {NO_AUDIT}, or {', '.join(PRESETS[:-1])} or "
            f"{PRESETS[-1]}, and then further attacks with commas, such as quick,relearning"
        )
    preset, *further = names
    for name in further:
        attack_kind(name)
        if further.count(name) > 1:
            raise ConfigError(f"audit names {name} twice; name each once")
    lacking = [n for n in ATTACKS if n in further and preset == "quick" and n not in FORWARD]
    return (preset, *lacking)


def _numbers(name: str, text: str | None, wanted: str, example: str) -> tuple[float, ...]:
    """The different numbers above 0 and at most 1 of a list with commas; none of None."""
    numbers: list[float] = []
    for part in () if text is None else text.split(","):
        number = _number(part)
        if not 0 < number <= 1:
            raise ConfigError(
                f"{name} has {part.strip()[:80]!r}; give {wanted} with commas, such as {example}"
            )
        if number in numbers:
            raise ConfigError(f"{name} names {number:g} twice; name each once")
        numbers.append(number)
    return tuple(numbers)


def _number(text: str) -> float:
    """NaN where it is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def pairs_of(texts: tuple[str, ...], name: str) -> dict[str, str]:
    """CONCEPT=MODEL entries as a table.

    Raises:
        ConfigError: an entry has another form, or a concept comes twice.
    """
    models: dict[str, str] = {}
    for text in texts:
        concept, equals, model = text.partition("=")
        if not (equals and concept.strip() and model.strip()):
            raise ConfigError(f"{name} is {text!r}; give it as CONCEPT=MODEL")
        if concept.strip() in models:
            raise ConfigError(f"{name} is given twice for {concept.strip()!r}; give it once")
        models[concept.strip()] = model.strip()
    return models


def bench_recipe(tables: Mapping[str, Any], under: Mapping[str, Any] | None = None) -> BenchRecipe:
    """The whole recipe: a file, and over it what was typed.

    Raises:
        ConfigError: as `build`, or the file names code of its own, which would run, or a list has
            nothing but commas.
    """
    if under and under.get("add"):
        raise ConfigError(
            f"the recipe adds methods that are code of its own, {str(under['add'])[:200]}; look at "
            "that code, take add out of the recipe, and name it by --add FILE.py:Class"
        )
    values = merge(under or {}, tables)
    for key in _COMMAS:
        listed = values.get(key)
        if isinstance(listed, list | tuple):
            names = [part.strip() for text in listed for part in str(text).split(",")]
            if "" in names:  # as of --only ",", which would mean every row
                raise ConfigError(
                    f"{key} has an empty name among {', '.join(map(repr, names))[:80]}; leave that "
                    "out"
                )
            values[key] = names
    return build(BenchRecipe, values)
