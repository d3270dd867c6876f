"""`erasure compare`: two checkpoints side by side."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pipelines.commands.options import AsJson, Device, Force, Out, refuse_taken, say
from pipelines.configs import option_groups as group
from pipelines.configs.everyday import ERASE_RECIPE, READING
from pipelines.process.declared_options import declared_options
from pipelines.process.recipe_options import help_of, recipe_options
from pipelines.run.claims import claim

DRAWING: Final = "pipelines.configs.settings:DrawingConfig"


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareOptions:
    """What `erasure compare` takes beside how the models are read."""

    before: Annotated[str, typer.Argument(help="The checkpoint before: a model as for erase.")]
    after: Annotated[str, typer.Argument(help="The checkpoint after, or the folder of a run.")]
    out: Out
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="A prompt; give it again for more.", rich_help_panel=group.PICTURES),
    ] = None
    prompts: Annotated[
        Path | None,
        typer.Option(help="A file of prompts, one a line.", rich_help_panel=group.PICTURES),
    ] = None
    erased: Annotated[
        list[str] | None,
        typer.Option(
            help="A prompt or concept that was erased; its rows are marked.",
            rich_help_panel=group.PICTURES,
        ),
    ] = None
    seeds: Annotated[
        str, typer.Option(help=help_of(ERASE_RECIPE, "grid.seeds"), rich_help_panel=group.PICTURES)
    ] = "0-4"
    steps: Annotated[
        int | None, typer.Option(help=help_of(DRAWING, "steps"), rich_help_panel=group.PICTURES)
    ] = None
    guidance: Annotated[
        float | None,
        typer.Option(help=help_of(DRAWING, "guidance"), rich_help_panel=group.PICTURES),
    ] = None
    batch_size: Annotated[
        int | None, typer.Option(help=help_of(DRAWING, "batch_size"), rich_help_panel=group.MACHINE)
    ] = None
    stream: Annotated[
        bool,
        typer.Option("--stream", help=help_of(DRAWING, "stream"), rich_help_panel=group.MACHINE),
    ] = False
    size: Annotated[
        int | None,
        typer.Option(help=help_of(ERASE_RECIPE, "data.size"), rich_help_panel=group.PICTURES),
    ] = None
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder to also write each picture to.", rich_help_panel=group.RUN),
    ] = None
    device: Device = None
    force: Force = False
    as_json: AsJson = False

    @property
    def record(self) -> Path:
        """The JSON file beside the grid."""
        return self.out.with_suffix(".json")


@recipe_options(ERASE_RECIPE, READING)
@declared_options
def compare(reading: dict[str, Any], asked: CompareOptions) -> None:
    """Draw the same prompts and seeds by two checkpoints.

    Writes a labelled grid, and beside it what was drawn as JSON.
    """
    from pipelines.early import require_model_name

    require_model_name(asked.before)
    require_model_name(asked.after)
    texts = _texts(asked)
    claim(asked.out, asked.record, asked.pictures)
    refuse_taken([asked.out, asked.record, *_further_pages(asked.out)], force=asked.force)
    _refuse_file(asked.pictures)

    from pipelines.configs.settings import parse_seeds
    from pipelines.jobs.compare_job import CompareJob

    grid = CompareJob(
        before=asked.before,
        after=asked.after,
        reading=reading,
        prompts=texts,
        seeds=parse_seeds(asked.seeds),
        erased=tuple(asked.erased or ()),
        drawing={
            "stream": asked.stream or None,
            **{name: getattr(asked, name) for name in ("steps", "guidance", "batch_size")},
        },
        size=asked.size,
        device=asked.device or "auto",
    ).write(asked.out, asked.record, asked.pictures)
    shown = list(map(str, grid))
    grids = shown if asked.as_json else ", ".join(shown)
    say({"grid": grids, "record": asked.record}, as_json=asked.as_json)


def _texts(asked: CompareOptions) -> tuple[str, ...]:
    """The prompts that were given, one by one and in a file.

    Raises:
        PromptError: there is none.
        ConfigError: the grid would be no PNG.
    """
    from erasure.errors import ConfigError
    from prompts.errors import PromptError
    from prompts.files import read_prompts

    texts = tuple(asked.prompt or ()) + (read_prompts(asked.prompts) if asked.prompts else ())
    if not texts:
        raise PromptError("there is no prompt; give --prompt TEXT or --prompts FILE")
    if asked.out.suffix.lower() != ".png":
        raise ConfigError(f"--out is {asked.out}; give a file that ends in .png")
    return texts


def _further_pages(out: Path) -> list[Path]:
    """Files that lie where a grid of several pages goes on: `grid-2.png`, `grid-3.png`."""
    if not out.parent.is_dir():
        return []
    named = re.compile(rf"{re.escape(out.stem)}-\d+{re.escape(out.suffix)}")
    return sorted(file for file in out.parent.iterdir() if named.fullmatch(file.name))


def _refuse_file(pictures: Path | None) -> None:
    """Raise ConfigError where the folder of pictures is a file."""
    from erasure.errors import ConfigError

    if pictures is not None and pictures.exists() and not pictures.is_dir():
        raise ConfigError(f"--pictures {pictures} is a file; give the path of a folder")
