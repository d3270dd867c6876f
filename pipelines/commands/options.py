"""Options that several commands share."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.configs import option_groups as group
from pipelines.configs.everyday import ERASE_RECIPE, TRAIN_RUN
from pipelines.process.one_voice import is_first
from pipelines.process.recipe_options import help_of
from pipelines.words.terminal import printable

if TYPE_CHECKING:
    from pipelines.jobs.opened import Planned

Recipe = Annotated[
    str | None,
    typer.Option(help="A TOML file, or the name of a ready recipe.", rich_help_panel=group.RUN),
]
RecipeFile = Annotated[
    Path | None, typer.Option(help="A TOML file of these settings.", rich_help_panel=group.RUN)
]
Folder = Annotated[Path | None, typer.Option(help="Folder to write.", rich_help_panel=group.RUN)]
Fit = Annotated[
    str | None,
    typer.Option(
        help="8gb, 12gb, 24gb, 48gb, 80gb, or auto: choose settings that fit that memory.",
        rich_help_panel=group.MACHINE,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Print memory, time and disk, and do nothing.", rich_help_panel=group.RUN
    ),
]
Model = Annotated[str, typer.Argument(help=help_of(ERASE_RECIPE, "model"))]
Force = Annotated[
    bool, typer.Option("--force", help="Replace what is there.", rich_help_panel=group.RUN)
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object.", rich_help_panel=group.RUN)
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help=help_of(ERASE_RECIPE, "device"),
        metavar="auto|cpu|cuda|mps",
        rich_help_panel=group.MACHINE,
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Where to write.", rich_help_panel=group.RUN)]
DataPath = Annotated[
    str | None,
    typer.Option(
        "--data-path", help=help_of(TRAIN_RUN, "data.path"), rich_help_panel=group.EXAMPLES
    ),
]
MethodSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A setting of the method, such as lr=0.01; may be repeated.",
        rich_help_panel=group.TRAINING,
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        help="Import the module:function that the file names.",
        rich_help_panel=group.READING,
    ),
]


def table(**values: Any) -> dict[str, Any]:  # noqa: ANN401
    """The options that were given, as a table of a recipe; `a__b` is key b of table a."""
    tables: dict[str, Any] = {}
    for name, value in values.items():
        if value is None or value is False:
            continue
        *path, key = name.split("__")
        inner = tables
        for part in path:
            inner = inner.setdefault(part, {})
        inner[key] = value
    return tables


def refuse_taken(files: Iterable[Path | None], *, force: bool) -> None:
    """Raise CheckpointError where one of the files is there and `force` is not set, or a folder."""
    from erasure.storage.disk import refuse_taken_file

    for file in files:
        if file is not None:
            refuse_taken_file(file, force=force)


def say(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result: JSON for machines, else one line a value, folded to a terminal's width."""
    if as_json:
        typer.echo(json.dumps(result, indent=2, ensure_ascii=False, default=str))
        return
    width = max(map(len, result))
    for name, value in result.items():
        typer.echo(fitted(f"{name:<{width}}  {_plain(value)}", width + 2))


def say_plan(plan: "Planned", *, as_json: bool) -> None:
    """Print what a dry run says, once for all processes."""
    if not is_first():
        return
    if as_json:
        say(plan.for_machines(), as_json=True)
    else:
        typer.echo("\n".join(map(printable, plan.for_people())))


def program_as_called() -> list[str]:
    """What to type to call this program here: `make demo` calls it by a path that is in no PATH."""
    typed = Path(sys.argv[0])
    if typed.stem != "erasure":
        return ["python", "-m", "pipelines.cli"]
    there = shutil.which("erasure")
    here = there is not None and typed.exists() and Path(there).samefile(typed)
    return ["erasure"] if here else [str(typed)]


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None where it is a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fitted(line: str, indent: int = 0) -> str:
    """The line without codes of a terminal, folded between words where stdout is one of fewer
    columns.

    Args:
        indent: columns before what goes on in a further line.
    """
    line, width = printable(line), terminal_width()
    if width is None or len(line) <= width:
        return line
    beyond = " " * min(indent, width // 2)
    return textwrap.fill(
        line, width, subsequent_indent=beyond, break_long_words=False, break_on_hyphens=False
    )


def _plain(value: Any) -> str:  # noqa: ANN401
    """A value as a person reads it: a table as its keys with their values."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)
