"""`erasure bench`: every method on every concept, one table and one page."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.commands.options import AsJson, Folder, RecipeFile, say
from pipelines.configs import option_groups as group
from pipelines.configs.everyday import BENCH, BENCH_RECIPE
from pipelines.process.recipe_options import recipe_options


@recipe_options(BENCH_RECIPE, BENCH, own_after="limit", defaults_but=())
def bench(
    options: dict[str, Any],
    out: Folder = None,
    recipe: RecipeFile = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say how long each kind of cell takes, and stop.",
            rich_help_panel=group.RUN,
        ),
    ] = False,
    tables: Annotated[
        bool,
        typer.Option(
            "--tables",
            help="Write the table of what is done, and make no cell.",
            rich_help_panel=group.RUN,
        ),
    ] = False,
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Also make again what failed.", rich_help_panel=group.RUN),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put every method of erasing into one table.

    Cells that --out has already are kept: the same command goes on where it was cut, and further
    concepts, rows and seeds are added. Give it again in another terminal, and both share the cells.
    Writes table.json, table.csv, table.md and bench.html.
    """
    from erasure.errors import ConfigError
    from pipelines.configs.recipe_files import stated_recipe
    from pipelines.early import require_model_name

    if out is None and not dry_run:
        raise ConfigError("there is no --out; give the folder to write the benchmark to")
    if tables and retry:
        raise ConfigError("--tables makes no cell and --retry makes some again; give one of them")
    if dry_run and (tables or retry):
        other = "--tables" if tables else "--retry"
        raise ConfigError(f"--dry-run only says what the cells take; leave it or {other} out")
    under = stated_recipe(recipe) if recipe else {}
    model = options.get("model", under.get("model"))
    if isinstance(model, str):
        require_model_name(model)
    from pipelines.bench.run import prepare, run_bench, write_now
    from pipelines.bench.settings import bench_recipe
    from pipelines.bench.tables.forms import to_json, to_markdown
    from pipelines.process.progress import Reporter

    resolved = bench_recipe(options, under)
    made = prepare(resolved, out or Path())
    if dry_run:
        from pipelines.bench.estimate import estimate

        bill = estimate(made)
        if as_json:
            say(bill.to_dict(), as_json=True)
        else:
            typer.echo("\n".join(bill.lines()))
        return
    table = write_now(made) if tables else run_bench(made, reporter=Reporter(), retry=retry)
    if as_json:
        typer.echo(to_json(table, made.protocol), nl=False)
        return
    assert out is not None
    typer.echo(to_markdown(table))
    files = {"table": "table.md", "page": "bench.html"}
    say({name: out / file for name, file in files.items()}, as_json=False)
