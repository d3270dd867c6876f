"""`erasure mask`: which weights carry a concept, and how two masks overlap."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.options import (
    AsJson,
    DryRun,
    Fit,
    Force,
    Recipe,
    refuse_taken,
    say,
    say_plan,
)
from pipelines.configs import option_groups as group
from pipelines.configs.everyday import ERASE_RECIPE, MASK
from pipelines.process.declared_options import declared_options
from pipelines.process.one_voice import is_first, one_voice
from pipelines.process.recipe_options import recipe_options
from pipelines.run.claims import claim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from erasure.masks.masks import SaliencyMask
    from pipelines.jobs.mask_job import MaskJob
    from pipelines.jobs.mask_view import MaskView


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskOptions:
    """What `erasure mask` takes beside the everyday fields of its recipe."""

    model: Annotated[
        str, typer.Argument(help="A model to make a mask for, or a mask file to look at.")
    ]
    out: Annotated[
        Path | None,
        typer.Option(help="Mask file to write, .safetensors.", rich_help_panel=group.RUN),
    ] = None
    recipe: Recipe = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of saliency or data without an option of its own, such as "
            "saliency.guidance_scale=3 or data.size=256; again for more.",
            rich_help_panel=group.WEIGHTS,
        ),
    ] = None
    method: Annotated[
        str | None,
        typer.Option(
            help="The method whose loss it is, for --saliency-loss own.",
            rich_help_panel=group.WEIGHTS,
        ),
    ] = None
    component: Annotated[
        str | None,
        typer.Option(
            help="The part of the model whose weights it is of, such as text_encoder. [default: "
            "the one that denoises, or that of --method]",
            rich_help_panel=group.WEIGHTS,
        ),
    ] = None
    intersect: Annotated[
        list[Path] | None,
        typer.Option(
            help="A mask file: keep what it selects as well; again for more.",
            rich_help_panel=group.MASKS,
        ),
    ] = None
    union: Annotated[
        list[Path] | None,
        typer.Option(
            help="A mask file: add what it selects; again for more.", rich_help_panel=group.MASKS
        ),
    ] = None
    against: Annotated[
        Path | None,
        typer.Option(
            help="Another mask file: print the overlap with it.", rich_help_panel=group.MASKS
        ),
    ] = None
    fit: Fit = None
    dry_run: DryRun = False
    plot: Annotated[
        Path | None,
        typer.Option(
            help="PNG of density per block. [default: beside --out]", rich_help_panel=group.RUN
        ),
    ] = None
    force: Force = False
    as_json: AsJson = False

    @property
    def path(self) -> Path:
        """The mask file that is looked at, if the model is one."""
        return Path(os.path.expanduser(self.model))

    @property
    def picture(self) -> Path | None:
        """The PNG to write: a new mask has one in any case."""
        return self.plot or (None if self.out is None else self.out.with_suffix(".png"))


@one_voice()
@recipe_options(ERASE_RECIPE, MASK, own_after="concept")
@declared_options
def mask(tables: dict[str, Any], asked: MaskOptions) -> None:
    """Make a mask, look at one, or join several.

    `accelerate launch -m pipelines.cli mask ...`, on a CPU `torchrun --nproc_per_node 2
    -m pipelines.cli mask ...`, shares the samples among processes.
    """
    from erasure.errors import ConfigError
    from pipelines.configs.concepts import named_concepts
    from pipelines.early import refuse_early

    if asked.plot is not None and asked.plot.suffix.lower() != ".png":
        raise ConfigError(f"--plot is {asked.plot}; give a file that ends in .png")
    tables = {
        "model": asked.model,
        **_of_method(asked.method, tables),
        **named_concepts(tables),
    }
    if not asked.path.is_file():
        refuse_early(tables, asked.recipe, shapes=asked.dry_run)
    if asked.dry_run:
        _refuse_files(asked)
        say_plan(_job(tables, asked).plan(), as_json=asked.as_json)
        return
    from erasure.masks.mask_file import load_mask
    from pipelines.jobs.mask_view import MaskView

    other = None if asked.against is None else load_mask(asked.against)
    made, facts = _mask(tables, asked)
    if is_first():
        _tell(MaskView.of(made, other), facts, asked)


def _mask(tables: dict[str, Any], asked: MaskOptions) -> "tuple[SaliencyMask, Mapping[str, Any]]":
    """The mask that is joined, looked at or made, and what its model was read as."""
    from erasure.errors import ConfigError
    from erasure.masks.mask_file import is_mask_file, load_mask

    if asked.intersect or asked.union:
        _refuse_making(tables, asked)
        joined = _combined(asked.path, asked.intersect or [], asked.union or [], asked.out)
        _claim_files(asked)
        return joined, {}
    named = "concept" in tables or asked.recipe
    if asked.path.is_file() and (is_mask_file(asked.path) or not named):
        if asked.out is not None:
            raise ConfigError(f"{asked.path} is a mask already; leave --out out to look at it")
        _refuse_making(tables, asked)
        _claim_files(asked)
        return load_mask(asked.path), {}
    if asked.out is None or asked.out.suffix != ".safetensors":
        said = "there is no --out" if asked.out is None else f"--out is {asked.out}"
        raise ConfigError(
            f"{said}; a new mask needs --concept and --out with a name that ends in "
            ".safetensors; to look at a mask, give its file"
        )
    _claim_files(asked)
    return _job(tables, asked).make()


def _job(tables: dict[str, Any], asked: MaskOptions) -> "MaskJob":
    from pipelines.jobs.mask_job import MaskJob

    return MaskJob.of(
        tables, asked.recipe, asked.settings or (), component=asked.component, fit=asked.fit
    )


def _claim_files(asked: MaskOptions) -> None:
    """Claim what is written; refuse what is there already."""
    claim(asked.out, asked.picture)
    refuse_taken([asked.out, asked.picture], force=asked.force)


def _tell(view: "MaskView", facts: "Mapping[str, Any]", asked: MaskOptions) -> None:
    """Write the mask and its picture, and print what it selects."""
    from erasure.masks.mask_file import save_mask
    from pipelines.drawing.plots import plot_density

    result = view.for_machines() if asked.as_json else view.for_people()
    if asked.as_json and facts:
        result["base_read_as"] = facts
    if asked.out is not None:
        save_mask(asked.out, view.mask)
        result["mask"] = asked.out
    if asked.picture is not None:
        plot_density(view.report.blocks, asked.picture, overall=view.report.whole.density)
        result["plot"] = asked.picture
    say(result, as_json=asked.as_json)


def _combined(
    path: Path, intersect: list[Path], union: list[Path], out: Path | None
) -> "SaliencyMask":
    """What both lists make of a mask file.

    Raises:
        ConfigError: both lists are given, the first is no mask file, or there is no place for it.
        MaskError: a mask cannot be read, or belongs to another base.
    """
    from erasure.errors import ConfigError
    from erasure.masks.combining import intersection, union_of
    from erasure.masks.mask_file import is_mask_file, load_mask

    if intersect and union:
        raise ConfigError("--intersect and --union are two masks; make one after the other")
    name = "--intersect" if intersect else "--union"
    if not path.is_file() or not is_mask_file(path):
        raise ConfigError(
            f"{path} is no mask file; write it as erasure mask {name} A.safetensors B"
        )
    if out is None or out.suffix != ".safetensors":
        said = "there is no --out" if out is None else f"--out is {out}"
        raise ConfigError(f"{said}; give a name that ends in .safetensors for the new mask")
    masks = [load_mask(file) for file in (path, *intersect, *union)]
    return (intersection if intersect else union_of)(masks)


def _of_method(method: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """The method as a recipe's table; it is read for its own loss alone."""
    from erasure.errors import ConfigError

    if method is None:
        return {}
    if options.get("saliency", {}).get("loss") != "own":
        raise ConfigError(
            f"--method is {method!r} and is read for --saliency-loss own alone; leave it out, or "
            "give that loss as well"
        )
    return {"mask": "salient", "method": {"name": method}}


def _refuse_files(asked: MaskOptions) -> None:
    """Raise ConfigError where a dry run, which makes no mask, is to join or compare some."""
    from erasure.errors import ConfigError

    for name in ("intersect", "union", "against"):
        if getattr(asked, name):
            raise ConfigError(
                f"--dry-run says what making a mask takes, so --{name} would not be read; leave "
                "one of the two out"
            )


def _refuse_making(tables: dict[str, Any], asked: MaskOptions) -> None:
    """Raise ConfigError where mask files alone are read, and something is for making a mask."""
    from erasure.errors import ConfigError

    more = [name for name in tables if name != "model"]
    more += ["set"] * bool(asked.settings)
    more += [name for name in ("component", "fit") if getattr(asked, name) is not None]
    if more or asked.recipe:
        raise ConfigError(
            f"{asked.path} is a mask already, so {', '.join(more or ['recipe'])} would not be "
            "read; leave out what is for making one"
        )
