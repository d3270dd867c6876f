"""Options are made from the dataclass of a command's recipe, and `--set` reaches all the rest."""

import inspect
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from support.console import erasure

from erasure.errors import ConfigError
from erasure.methods import METHODS, Method, SalUn
from pipelines.audit.settings import AuditRecipe
from pipelines.bench.settings import BenchRecipe
from pipelines.cli import _COMMANDS
from pipelines.configs.everyday import (
    AUDIT,
    BENCH,
    DISTANCE,
    ERASE,
    ERASE_RECIPE,
    EVALUATE,
    EVALUATE_RECIPE,
    MASK,
    Options,
    fields_of,
)
from pipelines.configs.recipe_files import read_recipe
from pipelines.configs.set_options import with_settings
from pipelines.configs.settings import EraseRecipe
from pipelines.configs.source_fields import field_docs, source_field
from pipelines.distances.settings import DistanceRecipe
from pipelines.evaluation.settings import EvaluateRecipe
from pipelines.process.recipe_options import BY_SUITE, tables_of

CASES = [
    (recipe, place, paths, name)
    for recipe, place, options in (
        (EraseRecipe, ERASE_RECIPE, ERASE),
        (EraseRecipe, ERASE_RECIPE, MASK),
        (EvaluateRecipe, EVALUATE_RECIPE, EVALUATE),
    )
    for name, paths in fields_of(options).items()
]


def imported(recipe: type[Any], path: str) -> tuple[type[Any], str, Any]:
    """Class, name and type of the field at a dotted path, by the imported classes themselves."""
    first, _, rest = path.partition(".")
    if recipe is Method:
        recipe = next(kind for kind in METHODS.values() if first in get_type_hints(kind))
    assert is_dataclass(recipe)
    assert first in {field.name for field in fields(recipe)}
    hint = get_type_hints(recipe)[first]
    return imported(hint, rest) if rest else (recipe, first, hint)


def value_type(hint: Any) -> tuple[Any, tuple[str, ...], bool]:  # noqa: ANN401
    """Type of one value, choices, and whether there may be several."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple:
        return (*value_type(get_args(hint)[0])[:2], True)
    if get_origin(hint) is Literal:
        return str, get_args(hint), False
    return hint, (), False


@pytest.mark.parametrize(("recipe", "place", "paths", "name"), CASES)
def test_an_everyday_option_leads_to_a_field_and_is_read_as_it_is(
    recipe: type[Any], place: str, paths: tuple[str, ...], name: str
) -> None:
    for path in paths:
        kind, field, hint = imported(recipe, path)
        source = source_field(place, path)
        assert (source.kind, source.choices, source.several) == value_type(hint)
        assert source.doc == field_docs(kind)[field]
        assert source.first_sentence, f"{path} has no docstring to make help from"


@pytest.mark.parametrize("name", ["erase", "mask", "evaluate"])
def test_a_command_has_few_parameters_of_its_own_and_the_rest_from_its_recipe(name: str) -> None:
    options = fields_of({"erase": ERASE, "mask": MASK, "evaluate": EVALUATE}[name])
    parameters = inspect.signature(_COMMANDS[name][0]).parameters
    assert set(options) <= set(parameters)
    # `mask` also looks at masks and joins them, with three options of its own.
    assert len(set(parameters) - set(options)) <= (14 if name == "mask" else 12)


def test_help_and_choices_are_those_of_the_fields() -> None:
    said = " ".join(erasure("erase", "--help").out.split())
    assert "--optimizer adam|adamw|sgd The optimiser of torch by this name." in said
    assert "--forget-folder <str> Pictures to forget: a folder" in said
    assert "--retain-folder <str> Pictures to keep: a folder" in said
    assert "--metric frechet|kid|clip|perceptual" in erasure("evaluate", "--help").out


def test_set_reaches_the_tables_of_the_recipe_and_the_settings_of_the_method() -> None:
    recipe = {"model": "demo", "data": {"forget": {"drawn": 2}}}
    texts = [
        "data.size=512",
        "saliency.guidance_scale=3",
        "save_every=7",
        "alpha=2",
        "method.warmup=1",
    ]
    assert with_settings(recipe, {}, texts) == {
        "model": "demo",
        "data": {"forget": {"drawn": 2}, "size": 512},
        "saliency": {"guidance_scale": 3},
        "save_every": 7,
        "method": {"alpha": 2, "warmup": 1},
    }
    assert with_settings({}, {"method": {"name": "uce"}}, ["seed=3"]) == {"seed": 3}
    assert with_settings({}, {}, ["seed=3"]) == {"method": {"seed": 3}}  # the method's comes first


@pytest.mark.parametrize("path", [f"method.{field.name}" for field in fields(SalUn)])
def test_every_setting_of_a_method_is_reached_by_set(path: str) -> None:
    name = path.partition(".")[2]
    assert with_settings({}, {}, [f"{name}=1"]) == {"method": {name: 1}}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["dat.size=512"], "--set dat.size is no setting of a recipe; the nearest .*data"),
        (["train.steps=5"], "--set train.steps is no setting of a recipe"),
        (["code=x.py:A"], "give --method instead"),
        (["method.name=esd"], "give --method instead"),
        (["alpha=1", "method.alpha=2"], "--set gives method.alpha twice"),
        (["data.size.x=1", "data.size=8"], "--set gives data.size twice"),
        (["data.size=8", "data.size.x=1"], "gives size a value and settings below it"),
        (["density=0.5"], "density is given by --density and by --set density"),
        (["grid=3"], "grid is given by --seeds and by --set grid; give it once"),
        (["method.steps=9"], "method.steps is given by --steps and by --set method.steps"),
        (["concept=dog"], "concept is given by --concept and by --set concept"),
        (["data.size=null"], "--set data.size=null sets nothing; leave it out"),
    ],
)
def test_what_set_cannot_mean_is_refused(texts: list[str], words: str) -> None:
    recipe = {
        "concept": "church",
        "density": 0.3,
        "method": {"name": "salun", "steps": 3},
        "grid": {"seeds": "0"},
    }
    with pytest.raises(ConfigError, match=words):
        with_settings(recipe, {}, texts)


def test_a_setting_with_dots_is_refused_by_name_where_there_is_none(tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ("erase", "demo", "--concept", "church", "--out", out, "--set")
    for text, words in (
        ("data.siz=512", "data.siz is unknown; the nearest known key is data.size"),
        ("data.size=500", "size is 500; give a multiple of 8"),
        ("saliency.guidance_scale=high", "saliency.guidance_scale is 'high'; give a number"),
    ):
        said = erasure(*line, text)
        assert said.code == 2
        assert words in said.err
    assert not out.exists()


@pytest.mark.slow
def test_a_run_follows_what_set_gives_and_its_recipe_says_so(
    tiny_folder: Path, tmp_path: Path
) -> None:
    said = erasure(
        *("erase", tiny_folder, "--concept", "church", "--method", "uce", "--seeds", 0),
        *("--set", "grid.drawing.steps=2", "--set", "allow_pickle=true", "--set", "ridge=0.25"),
        *("--device", "cpu", "--cache", tmp_path / "cache", "--out", tmp_path / "run"),
    )
    assert said.code == 0, said.err
    used = read_recipe(str(tmp_path / "run" / "recipe.toml"))
    assert used["grid"]["drawing"]["steps"] == 2
    assert used["allow_pickle"] is True
    assert used["method"]["ridge"] == 0.25


def test_a_distance_names_the_option_that_is_missing(tmp_path: Path) -> None:
    said = erasure("distance", "demo", "--concept", "church", "--base", "demo", "--out", tmp_path)
    assert said.code == 2
    assert "erasure: --retrained is missing; give the erased model" in said.err


@pytest.mark.parametrize(
    ("command", "recipe", "options", "hidden"),
    [
        ("bench", BenchRecipe, BENCH, ()),
        ("audit", AuditRecipe, AUDIT, BY_SUITE),
        ("distance", DistanceRecipe, DISTANCE, BY_SUITE),
        ("evaluate", EvaluateRecipe, EVALUATE, BY_SUITE),
    ],
)
def test_the_help_shows_the_default_of_every_option_that_has_its_own(
    command: str, recipe: type[Any], options: Options, hidden: tuple[str, ...]
) -> None:
    page = " ".join(erasure(command, "--help").out.split())
    defaults = {field.name: field.default for field in fields(recipe)}
    shown = 0
    for name, paths in fields_of(options).items():
        default = defaults.get(paths[0])
        if isinstance(default, tuple):
            default = ",".join(default)
        if name in hidden or not default or not isinstance(default, str | int):
            continue
        entry = page.partition(f"--{name.replace('_', '-')} ")[2] or page
        assert f"[default: {default}]" in entry, name
        shown += 1
    assert shown >= 3


def test_an_option_with_a_default_counts_as_given_only_where_it_is() -> None:
    assert tables_of(BENCH, {"limit": None, "seeds": "0"}) == {"seeds": "0"}
