"""What holds for every command: options given twice, the version, recipes as editors save them."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer.main
from support.console import erasure

from pipelines.cli import app
from pipelines.configs.recipe_files import MAY_BE_EMPTY, empty_setting
from pipelines.process.recipe_options import help_of


def every_command(group: Any = None, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:  # noqa: ANN401
    group = group or typer.main.get_command(app)
    commands = []
    for name, inner in group.commands.items():
        deeper = hasattr(inner, "commands")
        commands += every_command(inner, (*path, name)) if deeper else [(*path, name)]
    return commands


def options_of(path: tuple[str, ...]) -> list[Any]:
    command: Any = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    return [param for param in command.params if param.param_type_name == "option"]


COMMANDS = every_command()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_option_of_one_value_given_twice_is_refused_in_every_command(
    path: tuple[str, ...],
) -> None:
    single = [o for o in options_of(path) if not (o.is_flag or o.multiple)]
    for option in single:
        name = option.opts[-1]
        said = erasure(*path, name, "one", f"{name}=two")
        assert said.code == 2
        assert said.err.splitlines()[-1] == (
            f"erasure: {name} is given 2 times, as 'one' and 'two', and takes one value; "
            f"give {name} once"
        )
    assert single or path in (("verify",), ("methods",))  # which have switches alone


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_empty_value_is_refused_and_not_passed_over_in_every_command(
    path: tuple[str, ...],
) -> None:
    # As `--vae "$VAE"` is, where nothing has set the variable.
    for option in (o for o in options_of(path) if not o.is_flag):
        name = option.opts[-1]
        said = erasure(*path, name, "")
        sentence = f"erasure: {name} is empty; give it a value"
        assert (said.err.strip().startswith(sentence) and said.code == 2) != (
            option.name in MAY_BE_EMPTY
        ), said.err


def test_an_empty_path_is_not_the_folder_that_one_is_in() -> None:
    said = erasure("verify", "")
    assert (said.code, said.err) == (2, "erasure: PATH is empty; give it a value\n")


def test_an_empty_value_among_several_is_refused() -> None:
    said = erasure("evaluate", "demo", "--judge", "canvas", "--judge", "")
    sentence = "erasure: --judge is empty; give it a value, or leave it out\n"
    assert (said.code, said.err) == (2, sentence)


@pytest.mark.parametrize(
    ("line", "text", "name"),
    [
        (("erase", "demo"), 'concept = "church"\nvae = ""', "vae"),
        (("erase", "demo"), '[data.forget]\nfolder = ""', "data.forget.folder"),
        (("evaluate", "demo", "--out", "out"), 'labels = ""', "labels"),
        (("audit", "demo", "--dry-run"), 'against = ""', "against"),
        (("distance", "demo", "--out", "out"), 'trained = ""', "trained"),
        (("bench", "demo", "--dry-run"), '[erase]\nvae = ""', "erase.vae"),
    ],
)
def test_an_empty_text_of_a_recipe_is_no_setting_left_out(
    line: tuple[str, ...], text: str, name: str, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text, encoding="utf-8")
    said = erasure(*line, "--recipe", recipe)
    sentence = f"erasure: {recipe}: {name} is empty; give it a value, or take it out\n"
    assert (said.code, said.err) == (2, sentence)


def test_an_empty_prompt_and_an_empty_setting_of_a_method_are_texts_like_others() -> None:
    tables = {"instead": "", "data": {"forget": {"prompt": ""}}, "method": {"words": ""}}
    assert empty_setting(tables) is None


def test_options_that_collect_values_and_switches_may_stand_twice() -> None:
    said = erasure("evaluate", "--judge", "a", "--judge", "b", "--json", "--json", "--force")
    assert said.code == 2
    assert "there is no --out" in said.err
    assert erasure("erase", "--help", "--concept", "a").code == 0


def test_the_version_is_told() -> None:
    said = erasure("--version")
    assert (said.code, said.out) == (0, "erasure 0.1.0\n")
    assert "--version" in erasure("--help").out


def test_a_recipe_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    recipe = tmp_path / "run.toml"
    recipe.write_text('model = "nosuch"\nconcept = "x"\n', encoding="utf-8-sig")
    said = erasure("erase", "--recipe", recipe, "--out", tmp_path / "out")
    assert said.code == 2
    assert "there is no model 'nosuch'" in said.err


def test_the_rows_of_a_mask_for_people_are_those_for_machines(tiny_run: Path) -> None:
    file = tiny_run / "mask.safetensors"
    report = json.loads(erasure("mask", file, "--json").out)
    lines = erasure("mask", file).out.splitlines()
    shown = {line.split("  ")[0]: line.split("(")[-1] for line in lines if " of " in line}
    shared = {row["part"] for row in report["blocks"]} & {row["part"] for row in report["kinds"]}
    assert {"in", "out"} <= shared  # the names that one table once took from the other
    for name, rows in (("block", report["blocks"]), ("layers", report["kinds"])):
        for row in rows:
            count = f"{row['selected']:,} of {row['total']:,})"
            assert shown[f"{name} {row['part']}"] == count


@pytest.mark.parametrize(
    ("line", "recipe", "paths"),
    [
        (("compare",), "EraseRecipe", ("config", "vae", "prediction", "device", "grid.seeds")),
        (("compare",), "DrawingConfig", ("steps", "guidance", "batch_size")),
        (("export",), "EraseRecipe", ("model", "config", "vae", "prediction", "allow_pickle")),
        (("classify", "train"), "TrainRun", ("data.path", "data.train", "model.width")),
    ],
)
def test_options_say_what_the_fields_that_they_set_say(
    line: tuple[str, ...], recipe: str, paths: tuple[str, ...]
) -> None:
    said = erasure(*line, "--help")
    module = "classifiers.run_settings" if recipe == "TrainRun" else "configs.settings"
    for path in paths:
        words = help_of(f"pipelines.{module}:{recipe}", path)
        assert len(words) > 10
        assert words in " ".join(said.out.split())
