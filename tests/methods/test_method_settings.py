"""Methods from the command line and from recipes: settings, refusals, and older recipes."""

import json
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
from support.console import erasure

from erasure import verify
from erasure.errors import ConfigError
from erasure.methods import METHODS, GradientAscent, SalUn, make_method
from erasure.methods.protocol import Need
from pipelines.configs.method_table import converted, settings_of
from pipelines.configs.resolving import recipe_text, resolve
from pipelines.configs.source_fields import field_docs


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is(name: str) -> None:
    kind = METHODS[name]
    assert kind.name == name
    assert kind.title
    assert kind.source.startswith("arXiv:")
    assert all(field_docs(kind)[field.name] for field in fields(kind)), field_docs(kind)  # type: ignore[arg-type]
    said = erasure("methods", name)
    assert said.code == 0
    for field in fields(kind):  # type: ignore[arg-type]
        assert f"  {field.name} (" in said.out
    assert "Literal" not in said.out
    # A newcomer reads one source, and words for what the method needs.
    assert said.out.count("\nSource: ") == 1
    needs = {part.strip() for part in said.out.partition("Needs: ")[2].splitlines()[0].split(";")}
    assert len(needs) == len(kind().needs)
    assert not needs & set(get_args(Need))


def test_the_table_of_methods_says_what_each_moves() -> None:
    page = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    rows = {}
    for row in page.partition("\n\nA LoRA of")[0].splitlines()[-len(METHODS) :]:
        name, _, moves, *_ = row.strip("| ").split(" | ")
        rows[name.strip("`")] = moves
    assert rows.keys() == METHODS.keys()
    for kind in METHODS.values():
        assert f"`{kind.default_scope}`" in rows[kind.name]
        assert ("salient half" in rows[kind.name]) == (kind.default_mask == "salient")


def test_a_method_shows_choices_and_the_defaults_of_the_embedded_models() -> None:
    said = erasure("methods", "uce")
    assert "  tokens (last, tail or all, default last)" in said.out
    assert "  for the canvas, which demo and demo-flow draw: tokens all" in said.out
    about = json.loads(erasure("methods", "uce", "--json").out)
    assert list(about["other_defaults"].values()) == [{"tokens": "all"}]
    said = erasure("methods", "salun")
    assert "  micro_batch (int or none, default none)" in said.out
    assert "  for a style of the canvas: steps 300" in said.out
    assert "  for any other model: alpha 0.5" in said.out
    said = erasure("methods", "speed")
    assert "  for a style of the canvas: tokens all, keys true, threshold 0.03" in said.out


def test_a_method_names_the_ready_recipes_of_its_variants() -> None:
    said = erasure("methods", "esd")
    assert "Ready recipes: esd-nudity, esd-object, esd-style" in said.out
    assert json.loads(erasure("methods", "leco", "--json").out)["recipes"] == ["leco-object"]
    assert "Ready recipes" not in erasure("methods", "ascent").out


def test_the_list_names_every_method_with_its_line_and_its_cost() -> None:
    said = erasure("methods")
    for kind in METHODS.values():
        assert kind.title in said.out
    for name, cost in (
        ("salun", "600 steps of 8 pictures"),
        ("esd", "1,000 steps of 53 passes"),
        ("ant", "250 steps of 86 passes"),  # of 0 to 14 steps and of 15 to 49, two passes each
        ("uce", "a solve without steps"),
        ("mace", "50 steps a concept and a solve"),
    ):
        (line,) = (line for line in said.out.splitlines() if line.startswith(f"{name} "))
        assert line.endswith(f"; {cost}")
    assert set(json.loads(erasure("methods", "--json").out)) == set(METHODS)


@pytest.mark.default("uce")
@pytest.mark.parametrize("method", ["uce", "esd"])
def test_methods_of_prompts_erase_without_a_picture(
    tiny_folder: Path, method: str, tmp_path: Path
) -> None:
    more = () if method == "uce" else ("--steps", 2, "--set", "rollout_steps=3")
    said = erasure(
        *("erase", tiny_folder, "--concept", "church", "--method", method, "--seeds", 0, *more),
        *("--device", "cpu", "--cache", tmp_path / "cache", "--out", tmp_path / "run", "--json"),
        *("--set", "grid.drawing.steps=2", "--set", 'grid.prompts=["a church"]'),
    )
    assert said.code == 0, said.err
    report = json.loads(said.out)
    assert report["unselected_identical"] is True
    assert report["moved"] > 0
    assert "draw forget pictures" not in report["seconds"]
    assert verify(tmp_path / "run").passed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--method", "ascent", "--target", "frozen"),
            "--target is no setting of the method ascent; leave it out",
        ),
        (
            ("--method", "uce", "--steps", "5"),
            "--steps is no setting of the method uce; leave it out",
        ),
        (("--method", "uce", "--set", "ridg=1"), "the nearest known key is method.ridge"),
        (("--bound", "2"), "--bound is no setting of the method salun"),
        (("--set", "bound=2"), "salun: method.bound is unknown"),
        (("--batch-size", "0"), "erasure: salun: --batch-size is 0; give 1 or more"),
        (("--as", "lora", "--rank", "0"), "erasure: --rank is 0; give 1 or more"),
        (("--set", "alpha"), "write it as alpha=0.5"),
        (("--set", "alpha=1", "--set", "alpha=2"), "given twice"),
        (("--set", "data.forget.folder="), "data.forget.folder an empty text"),
        (("--set", "alpha=high"), "method.alpha is 'high'; give a number"),
    ],
)
def test_a_setting_that_the_method_has_not_is_refused(
    options: tuple[str, ...], words: str, tiny_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    said = erasure("erase", tiny_folder, "--concept", "church", "--out", out, *options)
    assert said.code == 2, said.err
    assert words in said.err
    assert not out.exists()


def test_an_older_recipe_is_read_as_the_method_that_it_meant() -> None:
    old = {
        "concept": "church",
        "objective": {"name": "random-label", "alpha": 0.25, "kept": "base", "bound": 1.0},
        "train": {"steps": 7, "learning_rate": 1e-4},
    }
    recipe = resolve(old, canvas=False)
    assert isinstance(recipe.method, SalUn)
    assert (recipe.method.alpha, recipe.method.kept, recipe.method.steps) == (0.25, "base", 7)
    ascent = resolve({"concept": "church", "objective": {"name": "ascent"}}, canvas=False).method
    assert isinstance(ascent, GradientAscent)
    written = {"alpha": 3.0, "target": "moving", "kept": "base", "bound": 2.0}
    assert converted({"objective": {"name": "ascent", **written}}) == {
        "method": {"name": "ascent", "alpha": 3.0, "bound": 2.0}
    }
    assert resolve({"concept": "church", "train": {"steps": 7}}, canvas=True).training is not None


def test_the_guidance_of_an_older_mask_is_one_more_on_the_scale_of_today() -> None:
    old = {"concept": "church", "saliency": {"loss": "guided", "guidance": 7.5, "draws": 2}}
    made = resolve(old, canvas=False).saliency
    assert (made.guidance_scale, made.draws) == (8.5, 2)
    assert resolve({"concept": "church"}, canvas=False).saliency.guidance_scale == 8.5
    over = resolve({"concept": "church", "saliency": {"draws": 3}}, canvas=False, under=old)
    assert (over.saliency.guidance_scale, over.saliency.draws) == (8.5, 3)
    written = recipe_text(resolve(old, canvas=False))
    assert "guidance_scale = 8.5" in written
    assert resolve(tomllib.loads(written), canvas=False).saliency == made
    with pytest.raises(ConfigError, match=r"saliency\.guidance_scale is 'high'"):
        resolve({"concept": "church", "saliency": {"guidance": "high"}}, canvas=False)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (
            {"saliency": {"guidance": 7.5, "guidance_scale": 8.5}},
            "the w of older recipes, 1 less than the second",
        ),
        ({"method": {}, "train": {}}, "move their keys into"),
        ({"objective": {"name": "minimax"}}, "objective.name is 'minimax'"),
        ({"objective": 3}, "objective is 3"),
        (
            {"objective": {"name": "ascent", "target": "frozen"}},
            "objective.target is 'frozen' and would not be read, as the objective is ascent",
        ),
        ({"objective": {"name": "ascent", "kept": "base"}}, "objective.kept is 'base'"),
        ({"objective": {"bound": 2.0}}, "objective.bound is '2.0' .* is random-label"),
    ],
)
def test_a_recipe_of_both_forms_or_of_none_is_refused(
    tables: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        converted(tables)


def test_values_of_set_are_numbers_lists_or_text() -> None:
    assert settings_of(["a=1", "b=0.5", "c=true", "d=last", "batch-size=2", "e=[1, 2]"]) == {
        "a": 1,
        "b": 0.5,
        "c": True,
        "d": "last",
        "batch_size": 2,
        "e": [1, 2],
    }


def test_the_registry_makes_methods_and_names_the_nearest() -> None:
    assert make_method("salun", alpha=2.0) == SalUn(alpha=2.0)
    with pytest.raises(ConfigError, match="did you mean 'salun'"):
        make_method("saluun")
    with pytest.raises(ConfigError, match="salun has no setting 'alfa'; did you mean 'alpha'"):
        make_method("salun", alfa=2.0)
