"""`erasure erase`: make a checkpoint forget a concept."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.options import AsJson, Force, say, table
from pipelines.configs.everyday import ERASE, ERASE_RECIPE
from pipelines.process.one_voice import is_first, one_voice
from pipelines.process.recipe_options import recipe_options
from pipelines.run.claims import claim

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint
    from pipelines.planning.bill_words import Told
    from pipelines.run.erasing import Erased


@one_voice()
@recipe_options(ERASE_RECIPE, ERASE, own_after="concept")
def erase(
    options: dict[str, Any],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run. [default: out/CONCEPT]")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A TOML file, or the name of a ready recipe.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="One of `erasure methods`, or FILE.py:Class of your own."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of the method, such as alpha=2, or of the recipe, such as "
            "data.size=512; again for more.",
        ),
    ] = None,
    concepts: Annotated[
        Path | None, typer.Option("--concepts", help="File of concepts to forget, one a line.")
    ] = None,
    retain_prompts: Annotated[
        Path | None, typer.Option(help="File of prompts to keep, one a line.")
    ] = None,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Run the method that the recipe brings as code.")
    ] = False,
    fit: Annotated[
        str | None,
        typer.Option(
            help="8gb, 12gb, 24gb, 48gb, 80gb, or auto: choose settings that fit that memory."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print memory, time and disk, and do nothing.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was cut.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make a checkpoint forget a concept.

    Writes OUT/model (diffusers folder), mask.safetensors, grid.png, loss.png, loss.csv,
    density.png, recipe.toml and erasure.json, with --as lora also lora.safetensors, with
    --until-unseen also unseen.csv and unseen.png. What is not given here comes from the recipe,
    then from the defaults of the model's kind. `accelerate launch -m pipelines.cli erase ...`, on a
    CPU `torchrun --nproc_per_node 2 -m pipelines.cli erase ...`, shares the work among processes.
    """
    from pipelines.configs.concepts import named_concepts, over_file
    from pipelines.configs.recipe_files import merge
    from pipelines.early import refuse_both, refuse_early

    refuse_both(resume=resume, force=force)
    options = merge(_named_in(options, concepts), _of_own_options(method, retain_prompts))
    refuse_early(options, recipe, shapes=dry_run)
    from pipelines.configs.set_options import with_settings
    from pipelines.planning import planning
    from pipelines.process.progress import Reporter
    from pipelines.run.erasing import prepare, run_erasure
    from pipelines.run.model_facts import notice, tell_model

    named = _named(recipe, options, allow_code=allow_code or method is not None)
    options = with_settings(options, named, settings or ())
    named = over_file(options, named_concepts(named))
    concept = _concept(merge(named, options))
    out = out or Path("out") / (re.sub(r"[^\w-]+", "-", concept.lower()).strip("-") or "concept")
    if not dry_run:
        claim(out)
    resolved, checkpoint = (planning.prepare_to_plan if dry_run else prepare)(options, named)
    facts = tell_model(checkpoint)
    card = planning.planned_card(fit, resolved.device) if dry_run else None
    if fit is not None:
        given_tables = merge(named, options)
        made_to_fit = planning.fit(resolved, checkpoint, given_tables, fit, card=card)
        resolved, facts = made_to_fit.recipe, {**facts, "fit": list(made_to_fit.said)}
        notice(list(made_to_fit.said))
    if dry_run:
        bill = planning.told_before(resolved, checkpoint, card=card)
        tell_bill(bill, checkpoint, facts, as_json=as_json)
        return
    erased = run_erasure(resolved, checkpoint, out, resume=resume, force=force, reporter=Reporter())
    if is_first():
        _tell(erased, out, ", ".join(resolved.names), facts, as_json=as_json)


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


def _named(recipe: str | None, options: dict[str, Any], *, allow_code: bool) -> dict[str, Any]:
    """The recipe that was named, whose seeds give way to one that is given here."""
    from pipelines.configs.method_table import converted, refuse_code
    from pipelines.configs.recipe_files import read_recipe

    named = converted(read_recipe(recipe)) if recipe else {}
    refuse_code(named, allowed=allow_code)
    if "seed" in options:
        for part in ("method", "saliency"):
            if isinstance(named.get(part), dict):
                named[part].pop("seed", None)
    return named


def _concept(tables: dict[str, Any]) -> str:
    """The concept of a whole recipe, which has a model too."""
    from erasure.errors import ConfigError

    for name in ("model", "concept"):
        if name not in tables:
            raise ConfigError(
                f"{name} is missing; for example: erasure erase demo --concept church --out DIR"
            )
    return " ".join(map(str, (tables["concept"], *tables.get("concepts", ()))))


def tell_bill(
    bill: "Told", checkpoint: "Checkpoint", facts: dict[str, Any], *, as_json: bool
) -> None:
    """Print the bill of a dry run, and what the model was not."""
    if as_json:
        say({**bill.to_dict(), "base_read_as": facts}, as_json=True)
    elif is_first():
        notes = [f"note: {note}" for note in checkpoint.notes]
        typer.echo("\n".join([*bill.page(), *notes]))


def _tell(
    erased: "Erased", out: Path, concept: str, facts: dict[str, Any], *, as_json: bool
) -> None:
    made = {
        "concept": concept,
        "model": erased.model,
        "grid": out / "grid.png",
        "mask": out / "mask.safetensors",
        "loss": out / "loss.png",
        "record": out / "erasure.json",
    }
    if erased.lora is not None:
        made["lora"] = erased.lora
    from erasure.work import work_said

    if as_json:
        counts = {name: getattr(erased, name) for name in ("selected", "moved", "total")}
        same = {"unselected_identical": erased.unselected_identical}
        seconds = {"seconds": dict(erased.seconds)}
        verdict = {"verdict": erased.verdict.to_dict() if erased.verdict else None}
        more = {"base_read_as": facts, "facts": dict(erased.facts), "work": dict(erased.work)}
        looks = {"until_unseen": erased.curve.to_dict()} if erased.curve else {}
        say({**made, **counts, **same, **more, **looks, **verdict, **seconds}, as_json=True)
        return
    spoken = {
        "verdict": erased.verdict.said() if erased.verdict else "not judged",
        "selected": f"{erased.selected:,} of {erased.total:,} weights",
        "moved": f"{erased.moved:,} weights",
        "unselected": "bit-identical" if erased.unselected_identical else "MOVED",
        **{name.replace("_", " "): _shown(value) for name, value in erased.facts.items()},
        **_looked(erased, concept, out),
        "work": work_said(erased.work),
        "seconds": round(sum(erased.seconds.values()), 1),
    }
    say({**made, **spoken}, as_json=False)


def _looked(erased: "Erased", concept: str, out: Path) -> dict[str, Any]:
    """What `--until-unseen` saw, and where its curve is."""
    from pipelines.run.looking import curve_said

    if erased.curve is None:
        return {}
    return {"until unseen": curve_said(erased.curve, concept), "curve": out / "unseen.csv"}


def _shown(fact: object) -> str:
    """A fact of a method in a few characters."""
    return f"{fact:.3g}" if isinstance(fact, float) else str(fact)
