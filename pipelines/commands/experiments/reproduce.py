"""`erasure reproduce`: an experiment of a paper, and our figures beside the published ones."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.options import AsJson, say
from pipelines.configs import option_groups as group
from pipelines.configs.everyday import REPRODUCE, REPRODUCE_RECIPE
from pipelines.process.recipe_options import help_of, recipe_options
from pipelines.run.claims import claim
from pipelines.words.terminal import printable

if TYPE_CHECKING:
    from pipelines.reproducing.result import Reproduction


@recipe_options(REPRODUCE_RECIPE, REPRODUCE)
def reproduce(
    options: dict[str, Any],
    experiment: Annotated[
        str,
        typer.Argument(help="salun-imagenette, salun-nudity, salun-style or unlearncanvas."),
    ],
    model: Annotated[
        str | None,
        typer.Option(help=help_of(REPRODUCE_RECIPE, "model"), rich_help_panel=group.MEASURED),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write. [default: out/EXPERIMENT]", rich_help_panel=group.RUN),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print pictures, passes, memory, hours and disk, and stop.",
            rich_help_panel=group.RUN,
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Repeat a paper's experiment, beside its figures.

    Masks, erases, draws and judges by the numbers of the paper or its release, each of which
    docs/how-to/reproduce.md and the result name with their source. Writes reproduction.json,
    figures.csv and reproduction.md; what is finished is kept, and the same command goes on. With
    `--model demo` the embedded checkpoint stands in.
    """
    from erasure.errors import ConfigError
    from pipelines.early import require_model_name

    if model is None:
        raise ConfigError(
            "there is no --model; give the checkpoint to erase from, or the word demo"
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "erasure reproduce runs in one process; start it without a launcher, with --only and "
            "another --out for each device"
        )
    from pipelines.reproducing.protocols.protocols import protocol_of

    protocol_of(experiment)
    require_model_name(model)
    out = out or Path("out") / experiment
    if not dry_run:
        claim(out)
    from erasure.storage.tables import build
    from pipelines.process.progress import Reporter
    from pipelines.reproducing.cost import Cost, lines_of
    from pipelines.reproducing.run import reproduce as run
    from pipelines.reproducing.settings import ReproduceRecipe

    recipe = build(ReproduceRecipe, {"experiment": experiment, "model": model, **options})
    done = run(recipe, out, reporter=Reporter(), dry=dry_run)
    if isinstance(done, Cost):
        if as_json:
            say(done.to_dict(), as_json=True)
        else:
            typer.echo("\n".join(map(printable, lines_of(done))))
        return
    _tell(done, out, as_json=as_json)


def _tell(result: "Reproduction", out: Path, *, as_json: bool) -> None:
    from pipelines.reproducing.result import FILE_NAME, PAGE, TABLE, text_of

    files = [out / name for name in (FILE_NAME, TABLE, PAGE)]
    if as_json:
        say({**result.to_dict(), "files": files}, as_json=True)
        return
    for line in text_of(result):
        typer.echo(printable(line))
    typer.echo(f"written to {', '.join(map(str, files))}")
