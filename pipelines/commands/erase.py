"""`erasure erase`: make a checkpoint forget a concept."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.options import AsJson, DryRun, Fit, Force, Recipe, say, say_plan, table
from pipelines.configs import option_groups as group
from pipelines.configs.everyday import ERASE, ERASE_RECIPE
from pipelines.process.declared_options import declared_options
from pipelines.process.one_voice import is_first, one_voice
from pipelines.process.recipe_options import recipe_options
from pipelines.run.claims import claim

if TYPE_CHECKING:
    from pipelines.jobs.erase_job import EraseJob, Finished
    from pipelines.run.erasing import Erased


@dataclass(frozen=True, kw_only=True, slots=True)
class EraseOptions:
    """What `erasure erase` takes beside the everyday fields of its recipe."""

    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run. [default: out/CONCEPT]", rich_help_panel=group.RUN),
    ] = None
    recipe: Recipe = None
    method: Annotated[
        str | None,
        typer.Option(
            help="One of `erasure methods`, or FILE.py:Class of your own.",
            rich_help_panel=group.TRAINING,
        ),
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of the method, such as alpha=2, or of the recipe, such as "
            "data.size=512; again for more.",
            rich_help_panel=group.TRAINING,
        ),
    ] = None
    concepts: Annotated[
        Path | None,
        typer.Option(
            "--concepts",
            help="File of concepts to forget, one a line.",
            rich_help_panel=group.SUBJECT,
        ),
    ] = None
    retain_prompts: Annotated[
        Path | None,
        typer.Option(help="File of prompts to keep, one a line.", rich_help_panel=group.EXAMPLES),
    ] = None
    allow_code: Annotated[
        bool,
        typer.Option(
            "--allow-code",
            help="Run the method that the recipe brings as code.",
            rich_help_panel=group.TRAINING,
        ),
    ] = False
    fit: Fit = None
    dry_run: DryRun = False
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a run that was cut.", rich_help_panel=group.RUN),
    ] = False
    force: Force = False
    as_json: AsJson = False


@one_voice()
@recipe_options(ERASE_RECIPE, ERASE, own_after="concept")
@declared_options
def erase(tables: dict[str, Any], asked: EraseOptions) -> None:
    """Make a checkpoint forget a concept.

    Writes OUT/model (diffusers folder), mask.safetensors, grid.png, loss.png, loss.csv,
    density.png, recipe.toml and erasure.json, with --as lora also lora.safetensors, with
    --until-unseen also unseen.csv and unseen.png. What is not given here comes from the recipe,
    then from the defaults of the model's kind. `accelerate launch -m pipelines.cli erase ...`, on a
    CPU `torchrun --nproc_per_node 2 -m pipelines.cli erase ...`, shares the work among processes.
    """
    from pipelines.early import refuse_both

    refuse_both(resume=asked.resume, force=asked.force)
    job = _job(tables, asked)
    if asked.dry_run:
        say_plan(job.plan(), as_json=asked.as_json)
        return
    out = asked.out or job.folder
    claim(out)
    finished = job.run(out, resume=asked.resume, force=asked.force)
    if is_first():
        _tell(finished, as_json=asked.as_json)


def _job(tables: dict[str, Any], asked: EraseOptions) -> "EraseJob":
    """What is asked for, refused before torch is imported where that can be seen."""
    from pipelines.configs.recipe_files import merge
    from pipelines.early import refuse_early

    tables = merge(
        _named_in(tables, asked.concepts), _of_own_options(asked.method, asked.retain_prompts)
    )
    refuse_early(tables, asked.recipe, shapes=asked.dry_run)
    from pipelines.jobs.erase_job import EraseJob

    return EraseJob.of(
        tables,
        asked.recipe,
        asked.settings or (),
        allow_code=asked.allow_code,
        fit=asked.fit,
    )


def _named_in(options: dict[str, Any], file: Path | None) -> dict[str, Any]:
    """The options with the concepts of the command line and of a file."""
    from pipelines.configs.concepts import named_concepts
    from prompts.files import read_prompts

    more = list(read_prompts(file)) if file is not None else []
    names = [*options.get("concepts", ()), *more]
    return named_concepts({**options, "concepts": names}) if names else options


def _of_own_options(method: str | None, retain_prompts: Path | None) -> dict[str, Any]:
    """What the options say that no field takes as they are."""
    from prompts.files import read_prompts

    is_code = method is not None and ":" in method
    return table(
        code=method if is_code else None,
        method__name=None if is_code else method,
        data__retain_prompts=None if retain_prompts is None else read_prompts(retain_prompts),
    )


def _tell(finished: "Finished", *, as_json: bool) -> None:
    """Print what a run left behind."""
    erased, out = finished.erased, finished.erased.folder
    made = {
        "concept": finished.concept,
        "model": erased.model,
        "grid": out / "grid.png",
        "mask": out / "mask.safetensors",
        "loss": out / "loss.png",
        "record": out / "erasure.json",
        **({} if erased.lora is None else {"lora": erased.lora}),
    }
    more = _for_machines(finished) if as_json else _for_people(finished)
    say({**made, **more}, as_json=as_json)


def _for_machines(finished: "Finished") -> dict[str, Any]:
    """The numbers of a run, as they are."""
    erased = finished.erased
    return {
        **{name: getattr(erased, name) for name in ("selected", "moved", "total")},
        "unselected_identical": erased.unselected_identical,
        "base_read_as": finished.facts,
        "facts": dict(erased.facts),
        "work": dict(erased.work),
        **({"until_unseen": erased.curve.to_dict()} if erased.curve else {}),
        "verdict": erased.verdict.to_dict() if erased.verdict else None,
        "seconds": dict(erased.seconds),
    }


def _for_people(finished: "Finished") -> dict[str, Any]:
    """The same in a line each."""
    from erasure.work import work_said

    erased = finished.erased
    return {
        "verdict": erased.verdict.said() if erased.verdict else "not judged",
        "selected": f"{erased.selected:,} of {erased.total:,} weights",
        "moved": f"{erased.moved:,} weights",
        "unselected": "bit-identical" if erased.unselected_identical else "MOVED",
        **{name.replace("_", " "): _shown(value) for name, value in erased.facts.items()},
        **_looked(erased, finished.concept),
        "work": work_said(erased.work),
        "seconds": round(sum(erased.seconds.values()), 1),
    }


def _looked(erased: "Erased", concept: str) -> dict[str, Any]:
    """What `--until-unseen` saw, and where its curve is."""
    from pipelines.run.judging.looking import curve_said

    if erased.curve is None:
        return {}
    return {
        "until unseen": curve_said(erased.curve, concept),
        "curve": erased.folder / "unseen.csv",
    }


def _shown(fact: object) -> str:
    """A fact of a method in a few characters."""
    return f"{fact:.3g}" if isinstance(fact, float) else str(fact)
