"""The own options of a command are the fields of one dataclass."""

import inspect
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.testing import CliRunner

from pipelines.cli import _COMMANDS, _GROUPS
from pipelines.configs.option_groups import WEIGHTS
from pipelines.process.declared_options import declared_options
from pipelines.process.recipe_options import recipe_options

RECIPE = "pipelines.configs.settings:EraseRecipe"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    model: Annotated[str, typer.Argument(help="What to take.")]
    rank: Annotated[int | None, typer.Option(help="How many.")] = None
    names: Annotated[list[str] | None, typer.Option("--name", help="Whose.")] = None
    force: Annotated[bool, typer.Option("--force", help="Replace it.")] = False


def app_of(command: Any) -> typer.Typer:  # noqa: ANN401
    app = typer.Typer()
    app.command()(command)
    return app


def test_a_command_is_called_with_the_dataclass_of_what_was_given() -> None:
    calls = []

    @declared_options
    def take(asked: Asked, last: Annotated[int, typer.Option()] = 3) -> None:
        calls.append((asked, last))

    line = ["demo", "--rank", "4", "--name", "a", "--name", "b", "--force", "--last", "5"]
    assert CliRunner().invoke(app_of(take), line).exit_code == 0
    assert CliRunner().invoke(app_of(take), ["demo"]).exit_code == 0
    whole = Asked(model="demo", rank=4, names=["a", "b"], force=True)
    assert calls == [(whole, 5), (Asked(model="demo"), 3)]


def test_a_field_without_a_default_must_be_given() -> None:
    @declared_options
    def take(asked: Asked) -> None:
        raise AssertionError(asked)

    said = CliRunner().invoke(app_of(take), ["--rank", "4"])
    assert said.exit_code == 2
    assert "model" in said.output.lower()


def test_declared_options_stand_beside_those_of_a_recipe() -> None:
    calls = []

    @recipe_options(RECIPE, {WEIGHTS: {"density": "density", "seed": "seed"}})
    @declared_options
    def take(tables: dict[str, Any], asked: Asked) -> None:
        calls.append((tables, asked))

    assert list(inspect.signature(take).parameters) == [
        *("model", "rank", "names", "density", "seed", "force")
    ]
    assert CliRunner().invoke(app_of(take), ["demo", "--density", "0.5"]).exit_code == 0
    assert calls == [({"density": 0.5}, Asked(model="demo"))]


def test_no_command_is_a_function_of_many_parameters() -> None:
    groups = [inner for _, inner in _GROUPS.values()]
    commands = [command for some in (_COMMANDS, *groups) for command, _ in some.values()]
    assert len(commands) > 20
    counts = {
        command.__name__: len(inspect.signature(unwrapped).parameters)
        for command in commands
        if (unwrapped := inspect.unwrap(command))
    }
    assert {name: count for name, count in counts.items() if count > 9} == {}
