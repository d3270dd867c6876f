"""What a run is told: defaults, a recipe and flags, merged in this order; seeds as text."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.errors import ConfigError
from erasure.methods import SalUn
from pipelines.configs.recipe_files import load_toml, merge
from pipelines.configs.resolving import drawing_defaults, recipe_text, resolve
from pipelines.configs.settings import (
    DataConfig,
    DrawingConfig,
    PicturesConfig,
    check_size,
    parse_seeds,
    read_recipe,
    shipped_recipes,
)

KEYS = st.sampled_from("abc")
VALUES = st.integers() | st.text(max_size=3)
TABLES = st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, max_size=3), max_size=3)
READY = shipped_recipes()


@pytest.mark.parametrize("canvas", [True, False])
@pytest.mark.parametrize("name", READY)
def test_every_ready_recipe_resolves_and_survives_its_own_file(
    name: str, canvas: bool, tmp_path: Path
) -> None:
    recipe = resolve({"concept": "church", **read_recipe(name)}, canvas=canvas)
    assert parse_seeds(recipe.grid.seeds)
    assert recipe.data.forget.drawn > 0 or recipe.data.forget.dataset is not None
    (tmp_path / "recipe.toml").write_text(recipe_text(recipe), encoding="utf-8")
    saved = load_toml(tmp_path / "recipe.toml")
    assert resolve({}, canvas=canvas, under=saved) == recipe


def test_the_issue_s_ready_recipes_are_there() -> None:
    wanted = {"imagenette-class", "nudity", "style", "demo-church", "demo-dog", "demo-sketch"}
    assert wanted <= set(READY)


def test_the_model_s_kind_chooses_the_defaults() -> None:
    canvas, general = (resolve({"concept": "church"}, canvas=c) for c in (True, False))
    assert isinstance(canvas.method, SalUn)
    assert isinstance(general.method, SalUn)
    assert canvas.method.learning_rate > general.method.learning_rate
    assert canvas.method.steps < general.method.steps
    assert canvas.density == general.density == 0.5


def test_what_is_given_comes_before_the_defaults_and_leaves_the_rest() -> None:
    plain = resolve({"concept": "church"}, canvas=True)
    recipe = resolve({"concept": "church", "method": {"steps": 7}, "scope": "xattn"}, canvas=True)
    assert recipe.scope == "xattn"
    assert recipe.method == replace(plain.training, steps=7)


def test_the_seed_of_a_recipe_is_that_of_its_parts_unless_they_have_their_own() -> None:
    one = resolve({"concept": "church", "seed": 4}, canvas=False)
    assert (one.seed, one.saliency.seed, one.training.seed) == (4, 4, 4)
    own = resolve({"concept": "church", "seed": 4, "method": {"seed": 9}}, canvas=False)
    assert (own.seed, own.saliency.seed, own.training.seed) == (4, 4, 9)


def test_a_resolved_recipe_resolves_to_itself(tmp_path: Path) -> None:
    recipe = resolve({"concept": "church", "seed": 3}, canvas=True)
    (tmp_path / "recipe.toml").write_text(recipe_text(recipe), encoding="utf-8")
    tables = read_recipe(str(tmp_path / "recipe.toml"))
    assert resolve(tables, canvas=True) == resolve(tables, canvas=False) == recipe


@given(base=TABLES, over=TABLES)
def test_merging_keeps_all_that_is_above_and_what_is_below_it(
    base: dict[str, Any], over: dict[str, Any]
) -> None:
    copy = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
    merged = merge(base, over)
    assert base == copy  # untouched
    assert merged.keys() == base.keys() | over.keys()
    assert merge(merged, over) == merged
    assert merge(base, {}) == base
    for key, value in over.items():
        if not isinstance(value, dict):
            assert merged[key] == value
        else:
            assert merged[key].items() >= value.items()


def test_merging_skips_what_is_none() -> None:
    assert merge({"a": 1, "b": {"c": 2}}, {"a": None, "b": {"c": None}}) == {"a": 1, "b": {"c": 2}}


@given(first=st.integers(0, 10**6), count=st.integers(1, 50))
def test_a_span_of_seeds_holds_both_ends(first: int, count: int) -> None:
    assert parse_seeds(f"{first}-{first + count - 1}") == tuple(range(first, first + count))


@given(seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20))
def test_listed_seeds_come_in_order_and_once(seeds: list[int]) -> None:
    assert parse_seeds(" , ".join(map(str, seeds))) == tuple(dict.fromkeys(seeds))


@given(text=st.text("0123456789-, ", max_size=8))
def test_seeds_are_parsed_or_refused(text: str) -> None:
    with suppress(ConfigError):
        seeds = parse_seeds(text)
        assert 0 < len(set(seeds)) == len(seeds) <= 10_000


@pytest.mark.parametrize(
    "text", ["", "a", "3-1", "-1", "1-", "1,,2", "1.5", str(2**63), "0-10000", "0-9999,10000"]
)
def test_seeds_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="seeds is"):
        parse_seeds(text)


def test_spans_and_lists_of_seeds_can_be_mixed() -> None:
    assert parse_seeds("0-2,7, 1,9-9") == (0, 1, 2, 7, 9)
    assert len(parse_seeds("0-9999")) == 10_000


def test_drawing_takes_the_defaults_of_the_model_s_kind() -> None:
    canvas = drawing_defaults({"steps": 3, "guidance": None}, canvas=True)
    assert canvas == DrawingConfig(
        steps=3,
        guidance=resolve({"concept": "church"}, canvas=True).grid.drawing.guidance,
        batch_size=canvas.batch_size,
    )
    with pytest.raises(ConfigError, match="guidance is nan"):
        drawing_defaults({"guidance": float("nan")}, canvas=False)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DrawingConfig(steps=0), "steps is 0"),
        (lambda: DrawingConfig(steps=1001), "steps is 1001"),
        (lambda: DrawingConfig(batch_size=0), "batch_size is 0"),
        (lambda: PicturesConfig(drawn=-1), "drawn is -1"),
        (lambda: PicturesConfig(limit=0), "limit is 0"),
        (lambda: DataConfig(size=60), "size is 60"),
        (lambda: resolve({"concept": "church", "save_every": 0}, canvas=True), "save_every is 0"),
    ],
)
def test_values_out_of_range_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


def test_sizes_are_multiples_of_eight() -> None:
    for size in (8, 64, 512):
        check_size(size)
    for size in (-8, 0, 7, 60):
        with pytest.raises(ConfigError, match="multiple of 8"):
            check_size(size)


@pytest.mark.parametrize("name", ["defaults", "imagenette-class"])
def test_the_passes_that_a_recipe_speaks_of_are_those_of_its_numbers(name: str) -> None:
    text = (files("pipelines") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    tables = {} if name == "defaults" else read_recipe(name)
    recipe = resolve({"concept": "church"} | tables, canvas=False)
    assert recipe.training is not None
    samples = recipe.training.steps * recipe.training.batch_size
    words = " ".join(text.replace("#", " ").split())
    if name == "defaults":
        drawn = recipe.data.forget.drawn, recipe.data.retain.drawn
        passes = [samples / count for count in drawn]
        assert f"{passes[0]:g} passes over the {drawn[0]} to forget" in words
        assert f"{passes[1]:g} over the {drawn[1]} to keep" in words
    else:
        assert "Five passes over about 960 pictures" in words
        assert samples / 960 == 5


def test_concepts_that_are_no_list_are_refused() -> None:
    with pytest.raises(ConfigError, match="concepts is 5; give a list"):
        resolve({"concept": "church", "concepts": 5}, canvas=True)
