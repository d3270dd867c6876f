"""`erasure classify bench`: one fair table of the methods of forgetting."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.commands.options import AsJson, Device, Out, say, table, terminal_width
from pipelines.configs import option_groups as group
from pipelines.process.declared_options import declared_options
from pipelines.run.claims import claim


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchOptions:
    """What `erasure classify bench` takes."""

    out: Out
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A TOML file, or a ready one: laptop, narrow, icons.", rich_help_panel=group.RUN
        ),
    ] = None
    data: Annotated[
        str | None,
        typer.Option(help="One data set instead of the recipe's.", rich_help_panel=group.EXAMPLES),
    ] = None
    data_path: Annotated[
        str | None, typer.Option(help="Where it lies.", rich_help_panel=group.EXAMPLES)
    ] = None
    arch: Annotated[
        str | None, typer.Option(help="One architecture instead.", rich_help_panel=group.TRAINING)
    ] = None
    width: Annotated[
        float | None,
        typer.Option(help="Its width. [default: 0.25]", rich_help_panel=group.TRAINING),
    ] = None
    forget: Annotated[
        str | None,
        typer.Option(help="Forget sets, such as 10%,50%,class:0.", rich_help_panel=group.SUBJECT),
    ] = None
    methods: Annotated[
        str | None,
        typer.Option(
            help="Such as salun,ft,ga; all for the controls too.", rich_help_panel=group.TRAINING
        ),
    ] = None
    seeds: Annotated[
        str | None,
        typer.Option(help="Such as 0-2 or 0,5. [default: 0-2]", rich_help_panel=group.TRAINING),
    ] = None
    epochs: Annotated[
        int | None,
        typer.Option(help="Of original and retrained models.", rich_help_panel=group.TRAINING),
    ] = None
    tune: Annotated[
        int,
        typer.Option(
            help="Search every method's settings first, this many trials each.",
            rich_help_panel=group.TRAINING,
        ),
    ] = 0
    tune_seeds: Annotated[
        int,
        typer.Option(
            help="Seeds that judge each trial of the search; more are steadier.",
            rich_help_panel=group.TRAINING,
        ),
    ] = 1
    presets: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file of tuned settings; may be repeated.", rich_help_panel=group.TRAINING
        ),
    ] = None
    device: Device = None
    as_json: AsJson = False


@declared_options
def bench(asked: BenchOptions) -> None:
    """Put every method of forgetting into one table.

    A row is a method on a data set, an architecture and a forget set, over all seeds; a page goes
    with the table. Methods with a training run of their own (sisa, dp-sgd, certified, and for
    tables forest and extra-trees) stand apart and are not ranked. Without --methods all have rows.

    Cells that --out has already are kept, so the same command goes on where it was cut, and
    another one adds to it. `accelerate launch -m pipelines.cli classify bench ...` shares the work.
    """
    from pipelines.classifiers.bench.bench_run import Share, run_bench
    from pipelines.classifiers.bench.bench_table import to_markdown
    from pipelines.classifiers.run_settings import bench_device, resolve_bench
    from pipelines.process.progress import Reporter

    config = resolve_bench(asked.recipe, _tables(asked))
    claim(asked.out)
    rows = run_bench(
        config,
        asked.out,
        device=bench_device(asked.device),
        reporter=Reporter(),
        budget=asked.tune,
        tuning=asked.tune_seeds,
        tuned=asked.presets or [],
        share=Share.of_environment(),
    )
    if not rows:  # one of several processes, which only searched
        say({"tuned": str(asked.out / "tuned")}, as_json=asked.as_json)
    elif asked.as_json:
        report = str(asked.out / "report.html")
        say({"out": str(asked.out), "report": report, "rows": rows_as_json(rows)}, as_json=True)
    else:
        _print_table(to_markdown(rows))
        made = {"table": "table.md", "plot": "gap.png", "report": "report.html"}
        say({name: asked.out / file for name, file in made.items()}, as_json=False)


def _tables(asked: BenchOptions) -> dict[str, Any]:
    """The options as tables of the recipe.

    Raises:
        ConfigError: an option is given without the one that it belongs to.
    """
    from erasure.errors import ConfigError
    from pipelines.configs.settings import parse_seeds

    for option, needed, missing in (
        ("--data-path", "--data", asked.data_path is not None and asked.data is None),
        ("--width", "--arch", asked.width is not None and asked.arch is None),
        ("--tune-seeds", "--tune", asked.tune_seeds != 1 and not asked.tune),
    ):
        if missing:
            raise ConfigError(f"{option} is given without {needed}; give both, or neither")
    options: dict[str, Any] = table(
        forget=_listed(asked.forget),
        methods=_listed(asked.methods),
        seeds=None if asked.seeds is None else list(parse_seeds(asked.seeds)),
        training__epochs=asked.epochs,
    )
    if asked.data is not None:
        options["data"] = [table(name=asked.data, path=asked.data_path)]
    if asked.arch is not None:
        options["models"] = [table(architecture=asked.arch, width=asked.width)]
    return options


def _print_table(markdown: str) -> None:
    """As it is into a file; for a terminal drawn in its width, with no figure cut."""
    if terminal_width() is None:
        typer.echo(markdown)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for is_table, lines in groupby(markdown.splitlines(), lambda line: line.startswith("|")):
        if not is_table:
            for line in lines:
                console.print(Text(line))
            continue
        head, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
        drawn = Table()
        for name in head:
            drawn.add_column(Text(name), overflow="fold")
        for row in rows:
            drawn.add_row(*map(Text, row))
        console.print(drawn)


def rows_as_json(rows: list[Any]) -> list[dict[str, Any]]:
    """The table's rows as plain values."""
    from dataclasses import asdict

    return [asdict(row) for row in rows]


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
