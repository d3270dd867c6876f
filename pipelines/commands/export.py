"""`erasure export`: write a checkpoint in the layout and number type that others load."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from pipelines.commands.options import AsJson, Force, Model, Out, say
from pipelines.configs import option_groups as group
from pipelines.configs.everyday import ERASE_RECIPE, MERGING
from pipelines.process.declared_options import declared_options
from pipelines.process.recipe_options import recipe_options
from pipelines.run.claims import claim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from erasure.lora.extracting import Size
    from pipelines.jobs.export_job import Form

FORMS: Final = ("diffusers", "single-file", "patch", "lora", "diff")
"""What `--to` may be."""
DTYPES: Final = ("fp32", "fp16", "bf16")
"""What `--dtype` may be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """What `erasure export` takes beside how a model is read."""

    model: Model
    out: Out
    to: Annotated[
        str,
        typer.Option(
            help="diffusers, single-file, patch, lora, or diff: full differences.",
            rich_help_panel=group.FORM,
        ),
    ] = "single-file"
    base: Annotated[
        str | None,
        typer.Option(
            help="For a patch, a LoRA or a diff: the model before the erasure.",
            rich_help_panel=group.FORM,
        ),
    ] = None
    naming: Annotated[
        str | None,
        typer.Option(
            help="For a LoRA: kohya, which ComfyUI, A1111 and diffusers read, or diffusers. "
            "[default: kohya]",
            rich_help_panel=group.FORM,
        ),
    ] = None
    rank: Annotated[
        int | None,
        typer.Option(help="For a LoRA: its rank in each layer.", rich_help_panel=group.FORM),
    ] = None
    energy: Annotated[
        float | None,
        typer.Option(
            help="For a LoRA: the share of each layer's change to keep, by as many ranks as it "
            "needs. [default: all of a run's own factors, else 0.99]",
            rich_help_panel=group.FORM,
        ),
    ] = None
    dtype: Annotated[
        str | None,
        typer.Option(
            help="fp32, fp16 or bf16. [default: each weight's own]", rich_help_panel=group.FORM
        ),
    ] = None
    title: Annotated[
        str | None,
        typer.Option(help="Title in a single file's header.", rich_help_panel=group.FORM),
    ] = None
    force: Force = False
    as_json: AsJson = False


@recipe_options(ERASE_RECIPE, MERGING)
@declared_options
def export(reading: dict[str, Any], asked: ExportOptions) -> None:
    """Write a folder, a single file, a patch or a LoRA.

    A single file has the layout that ComfyUI, A1111 and others read. A patch holds the weights that
    moved since --base; `erasure patch apply` and `remove` turn one model into the other, exactly.
    A LoRA holds the factors of a run, without loss where the run has them, else those nearest to
    the difference from --base; a diff holds that difference whole, by the same names. Files that
    --lora names are merged into --base where one is given, else into the model.
    """
    from pipelines.early import require_model_name

    require_model_name(asked.model)
    require_model_name(asked.base or asked.model)
    _refuse_wrong(asked)
    loras = reading.pop("loras", ())
    _refuse_unread(asked, loras)
    size = _size(asked.rank, asked.energy)

    from pipelines.jobs import export_job
    from pipelines.run.model_facts import notice

    claim(asked.out)
    exported = export_job.ExportJob(
        model=asked.model,
        out=asked.out,
        form=cast("Form", asked.to),
        reading=reading,
        base=asked.base,
        loras=loras,
        dtype=export_job.DTYPES[asked.dtype] if asked.dtype else None,
        title=asked.title,
        naming=asked.naming,
        size=size,
        force=asked.force,
    ).write()
    notice([f"notice: {sentence}" for sentence in exported.notices])
    say(exported.for_machines() if asked.as_json else exported.for_people(), as_json=asked.as_json)


def _refuse_wrong(asked: ExportOptions) -> None:
    """Raise ConfigError for options that do not go together."""
    from erasure.errors import ConfigError

    to = asked.to
    if to not in FORMS:
        raise ConfigError(f"--to is {to!r}; give {', '.join(FORMS[:-1])} or {FORMS[-1]}")
    if asked.base is None and to in ("patch", "diff"):
        raise ConfigError(f"--to {to} needs --base; give the model before the erasure")
    if asked.base is not None and to not in ("patch", "diff", "lora"):
        raise ConfigError(
            f"--base is for --to patch, lora or diff, and --to is {to}; leave --base out"
        )
    if to == "patch" and asked.dtype is not None:
        raise ConfigError("a patch keeps each weight's own type; leave --dtype out")
    if asked.title is not None and to != "single-file":
        raise ConfigError(
            f"--title is {asked.title!r}, and --to {to} writes no title; leave --title out, or "
            "give --to single-file"
        )
    if asked.dtype is not None and asked.dtype not in DTYPES:
        raise ConfigError(f"--dtype is {asked.dtype!r}; give {', '.join(DTYPES)}, or leave it out")


def _refuse_unread(asked: ExportOptions, loras: "Sequence[str]") -> None:
    """Raise ConfigError for options of a LoRA that would not be read, or are out of range."""
    from erasure.errors import ConfigError
    from erasure.lora.names import NAMINGS

    if loras and asked.to == "lora" and asked.base is None:
        raise ConfigError(
            f"--lora is {loras[0]} and would not be read, as a run's own factors are written as "
            "they are; leave it out, or give the model before the erasure by --base"
        )
    for name in ("naming", "rank", "energy"):
        value = getattr(asked, name)
        if value is not None and asked.to != "lora":
            raise ConfigError(
                f"--{name} is {value} and would not be read, as it is for --to lora; leave it out"
            )
    if asked.naming not in (None, *NAMINGS):
        raise ConfigError(f"--naming is {asked.naming!r}; give {' or '.join(NAMINGS)}")


def _size(rank: int | None, energy: float | None) -> "Size | None":
    """How thin the factors are to be; None where neither says it."""
    from erasure.lora.extracting import Size

    return None if rank is None and energy is None else Size(rank=rank, energy=energy)
