"""The help of a command with many options shows them in groups."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from support.console import erasure

from pipelines.cli import app
from pipelines.configs.everyday import ERASE
from pipelines.configs.option_groups import GROUPS
from pipelines.process.grouped_help import MANY, grouped


def commands(group: Any, name: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Every command of the program with what one types for it."""
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name}{word} ")
        else:
            yield f"{name}{word}", command


COMMANDS = dict(commands(typer.main.get_command(app)))


def options(command: Any) -> list[Any]:  # noqa: ANN401
    """Its options beside `--help`."""
    return [p for p in command.params if p.param_type_name == "option" and p.name != "help"]


def test_every_option_of_a_command_with_many_belongs_to_a_group() -> None:
    many = {name: options(one) for name, one in COMMANDS.items() if len(options(one)) > MANY}
    assert {"erase", "mask", "evaluate", "audit", "classify train"} <= set(many)
    for name, params in many.items():
        astray = [p.opts[-1] for p in params if p.rich_help_panel not in GROUPS]
        assert astray == [], f"{name} has options of no group"
        members = [p for group in grouped(params).values() for p in group]
        assert sorted(p.name for p in members) == sorted(p.name for p in params)
        assert len(grouped(params)) >= 3


def test_the_groups_of_a_recipe_are_those_of_a_help_page() -> None:
    assert set(ERASE) <= set(GROUPS)


@pytest.mark.parametrize("columns", ["80", "120"])
def test_a_help_page_shows_each_group_once_and_fits_the_terminal(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = erasure("erase", "--help").out.splitlines()
    titles = [line[:-1] for line in lines if line.endswith(":") and line[:1] not in (" ", "")]
    assert titles == ["Arguments", *(title for title in GROUPS if title in titles)]
    assert "Options" not in titles
    assert len(titles) > 6
    assert max(map(len, lines)) <= int(columns)
    assert max(map(len, lines)) > int(columns) - 10  # and uses its width
    at = {line.split()[0]: number for number, line in enumerate(lines) if line.startswith("  --")}
    start = lines.index("How it is trained:")
    assert start < at["--method"] < at["--lr"] < lines.index("What it learns from:")
    starts = {line.index(line.split(">", 1)[1].strip()) for line in lines if " <float> " in line}
    assert len(starts) == 1, "what options do begins in one column"


def test_a_command_with_few_options_has_one_list() -> None:
    assert len(options(COMMANDS["verify"])) <= MANY
    said = erasure("verify", "--help").out
    assert "\nOptions:\n" in said
    assert not any(f"\n{title}:\n" in said for title in GROUPS)
