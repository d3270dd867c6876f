"""Recipes: TOML becomes checked dataclasses and back, and every mistake is named."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erasure.errors import ConfigError
from erasure.storage.tables import build
from pipelines.configs.recipe import dump_toml
from pipelines.configs.recipe_files import load_toml


@dataclass(frozen=True, kw_only=True, slots=True)
class Train:
    steps: int = 150
    lr: float = 2e-4
    objective: Literal["random-label", "ascent"] = "random-label"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"steps is {self.steps}; give 1 or more")


@dataclass(frozen=True, slots=True)
class Prompt:
    text: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    concept: str
    train: Train = field(default_factory=Train)
    force: bool = False
    anchor: str | None = None
    bound: Optional[float] = None  # noqa: UP045
    prompts: tuple[str, ...] = ()
    size: tuple[int, int] = (64, 64)
    mask: Literal["salient", "all"] | Path = "salient"
    seeds: int | tuple[int, ...] = 0
    more: tuple[Prompt, ...] = ()
    extra: Train | None = None


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
"""No recipe has the character of number 0."""
WHOLE = st.integers(-(2**63), 2**63 - 1)
"""TOML has these alone."""
TRAINS = st.builds(
    Train,
    steps=st.integers(1, 2**63 - 1),
    lr=NUMBERS,
    objective=st.sampled_from(["random-label", "ascent"]),
)
RECIPES = st.builds(
    Recipe,
    concept=TEXT,
    train=TRAINS,
    force=st.booleans(),
    anchor=st.none() | TEXT,
    bound=st.none() | NUMBERS,
    prompts=st.lists(TEXT, max_size=3).map(tuple),
    size=st.tuples(WHOLE, WHOLE),
    mask=st.sampled_from(["salient", "all", Path("runs/mask.safetensors")]),
    seeds=WHOLE | st.lists(WHOLE, max_size=3).map(tuple),
    more=st.lists(st.builds(Prompt, TEXT, NUMBERS), max_size=2).map(tuple),
    extra=st.none() | TRAINS,
)


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


@given(recipe=RECIPES)
@settings(max_examples=40)
def test_dumping_then_loading_is_the_identity(
    tmp_path_factory: pytest.TempPathFactory, recipe: Recipe
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.toml"
    path.write_bytes(dump_toml(recipe).encode())
    assert build(Recipe, load_toml(path)) == recipe


def test_a_dump_has_a_comment_and_the_order_of_the_fields() -> None:
    text = dump_toml(Recipe(concept="church", prompts=("a", "b")), "Made by a run.\nKeep it.")
    lines = text.splitlines()
    assert lines[:4] == ["# Made by a run.", "# Keep it.", "", 'concept = "church"']
    assert "anchor" not in text
    assert lines[-4:] == ["[train]", "steps = 150", "lr = 0.0002", 'objective = "random-label"']
    assert dump_toml(Recipe(concept="church")) == dump_toml(Recipe(concept="church"))


def test_what_a_recipe_lacks_keeps_its_default() -> None:
    recipe = build(Recipe, {"concept": "dog", "train": {"lr": 1}})
    assert recipe == Recipe(concept="dog", train=Train(lr=1.0))
    assert type(recipe.train.lr) is float


def test_none_is_taken_only_where_the_field_allows_it() -> None:
    assert build(Recipe, {"concept": "dog", "anchor": None, "extra": None}).anchor is None
    with pytest.raises(ConfigError, match=r"concept is None; give text in quotes"):
        build(Recipe, {"concept": None})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"concpet": "x"}, "concpet is unknown; the nearest known key is concept"),
        ({"train": {"stps": 5}}, "train.stps is unknown; the nearest known key is train.steps"),
        ({"zzz": 1}, "zzz is unknown; known keys: concept, train, force"),
        ({"train": {"steps": 1.5}}, "train.steps is 1.5; give a whole number"),
        ({"train": {"steps": True}}, "train.steps is True; give a whole number"),
        ({"train": {"steps": 0}}, "in [train]: steps is 0; give 1 or more"),
        ({"train": {"lr": "fast"}}, "train.lr is 'fast'; give a number"),
        ({"train": {"lr": 10**400}}, "train.lr is too large; give a number"),
        ({"train": {"steps": 2**63}}, "train.steps is too large; give a whole number below 2"),
        ({"train": {"lr": float("inf")}}, "train.lr is inf; give a finite number"),
        ({"train": {"lr": float("nan")}}, "train.lr is nan; give a finite number"),
        ({"train": 3}, "train is 3; give a table with the keys steps, lr, objective"),
        (
            {"train": {"objective": "ascend"}},
            "train.objective is 'ascend'; give one of 'random-label', 'ascent'; "
            "the nearest is 'ascent'",
        ),
        ({"train": {"objective": 7}}, "train.objective is 7; give one of 'random-label', 'ascent'"),
        ({"concept": 3}, "concept is 3; give text in quotes"),
        ({"concept": {"a": 1}}, "concept is a table; give text in quotes"),
        ({"force": 1}, "force is 1; give true or false"),
        ({"force": "yes"}, "force is 'yes'; give true or false"),
        ({"prompts": "a dog"}, "prompts is 'a dog'; give a list, each element text in quotes"),
        ({"prompts": ["a dog", 3]}, "prompts[1] is 3; give text in quotes"),
        ({"size": [1, 2, 3]}, "size is [1, 2, 3]; give a list of 2: a whole number, a whole"),
        ({"mask": 3}, "mask is 3; give one of 'salient', 'all' or a path in quotes"),
        ({"seeds": "all"}, "seeds is 'all'; give a whole number or a list, each element a whole"),
        ({"more": [{"txt": "a"}]}, "more[0].txt is unknown; the nearest known key is more[0].text"),
        ({"more": [{}]}, "more[0].text is missing; it has no default, so give it"),
        ({"bound": "none"}, "bound is 'none'; give a number"),
        ({"extra": {"steps": "x"}}, "extra.steps is 'x'; give a whole number"),
    ],
)
def test_a_mistake_is_named_with_what_is_wanted(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build(Recipe, {"concept": "church", **change})
    assert str(refused.value).startswith(message)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="concept is missing"):
        build(Recipe, {})


def test_a_where_stands_before_every_key() -> None:
    with pytest.raises(ConfigError, match=r"^job\.train\.steps is 'x'"):
        build(Recipe, {"concept": "x", "train": {"steps": "x"}}, "job")


def test_none_that_is_no_default_is_not_dumped() -> None:
    @dataclass
    class Odd:
        steps: int | None = 5

    with pytest.raises(AssertionError, match="TOML cannot say so"):
        dump_toml(Odd(None))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\nb == 2\n", "line 2 is not TOML: 'b == 2' (Invalid value)"),
        ("a = 1\n\n[train\nx = 1", "line 3 is not TOML: '[train'"),
        ('a = 1\nb = "open', "line 2 is not TOML: 'b = \"open'"),
        ("a = [1,\n", "line 1 is not TOML: 'a = [1,'"),
        ("a = 1\na = 2\n", "line 2 is not TOML: 'a = 2'"),
        ("=", "line 1 is not TOML: '='"),
        ("a = " + "[" * 5000, "cannot be read as TOML"),
        ("a = " + "1" * 5000, "cannot be read as TOML"),
    ],
)
def test_malformed_toml_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load_toml(path)
    assert str(refused.value).startswith(str(path))
    assert message in str(refused.value)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_toml(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_toml(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_toml(tmp_path / "bytes.toml")


def test_an_empty_file_is_an_empty_table(tmp_path: Path) -> None:
    assert load_toml(written(tmp_path, "# nothing\n")) == {}
