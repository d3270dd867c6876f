"""`erasure audit`: does the concept come back under attack, and what was not tried?"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.options import AsJson, Folder, Force, RecipeFile, say
from pipelines.configs import option_groups as group
from pipelines.configs.everyday import AUDIT, AUDIT_RECIPE
from pipelines.process.one_voice import one_voice
from pipelines.process.recipe_options import BY_SUITE, recipe_options
from pipelines.run.claims import claim
from pipelines.words.terminal import printable

if TYPE_CHECKING:
    from pipelines.audit.outcome.results import Audit


@one_voice()
@recipe_options(AUDIT_RECIPE, AUDIT, own_after="budget", defaults_but=BY_SUITE)
def audit(
    options: dict[str, Any],
    out: Folder = None,
    recipe: RecipeFile = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what each attack would cost, and stop.",
            rich_help_panel=group.RUN,
        ),
    ] = False,
    card: Annotated[
        bool,
        typer.Option(
            "--card",
            help="Also write the verdict into the model's card and record.",
            rich_help_panel=group.RUN,
        ),
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Attack an erased model, its base and its controls alike.

    Writes audit.json, attacks.csv and audit.html, and, where --retrained is given twice, measures
    the distances to these models. What is finished is kept: the same command goes
    on where it was cut. `torchrun --nproc_per_node 2 -m pipelines.cli audit ...` shares the attacks
    among processes.
    """
    from erasure.errors import ConfigError
    from pipelines.configs.recipe_files import merge, stated_recipe
    from pipelines.early import require_model_name

    if out is None and not dry_run:
        raise ConfigError("there is no --out; give the folder to write the audit to")
    under = stated_recipe(recipe) if recipe else {}
    both = merge(under, options)
    others = both.get("retrained")
    listed = others if isinstance(others, list | tuple) else ()  # of a file, it may be anything
    for name in (both.get("model"), both.get("against"), *listed):
        if isinstance(name, str):
            require_model_name(name)
    claim(None if dry_run else out)
    from pipelines.audit.planning import Plan
    from pipelines.audit.run import run_audit
    from pipelines.audit.settings import recipe_for
    from pipelines.distances.beside import FOLDER, check_beside, measure_beside
    from pipelines.distances.result import FILE_NAME, table_of
    from pipelines.process.progress import Reporter
    from pipelines.run.memory import Less, enough_memory, halved
    from pipelines.run.models import pick_device

    resolved = recipe_for(options, under)
    folder = _require_record(resolved.model) if card else None
    less = Less(halved("batch_size", resolved.batch_size)).forced()
    where = out or Path()
    check_beside(resolved, where)
    beside = None
    with enough_memory("auditing", less, pick_device(resolved.device)):
        reporter = Reporter()
        outcome = run_audit(resolved, where, force=force, reporter=reporter, dry=dry_run)
        if outcome is not None and not isinstance(outcome, Plan):
            beside = measure_beside(resolved, outcome, where, reporter=reporter)
    if isinstance(outcome, Plan):
        say(outcome.to_dict() if as_json else _sum(outcome), as_json=as_json)
    elif outcome is not None:
        assert out is not None
        rows = _rows_of(outcome, out, as_json=as_json)
        if beside is not None:
            rows["distances"] = out / FOLDER / FILE_NAME
        if folder is not None:
            rows["written into"] = [str(path) for path in _carded(outcome, out, folder)]
        say(rows, as_json=as_json)
        if beside is not None and not as_json:
            typer.echo("\n".join(map(printable, ("", *table_of(beside)))))


def _carded(outcome: "Audit", out: Path, model: Path) -> list[Path]:
    """Write the verdict into the card and the records of the model; the files."""
    from pipelines.audit.outcome.results import FILE_NAME
    from pipelines.audit.telling.card import write_audit_card
    from pipelines.audit.telling.record import note_of, write_audit_note

    records = write_audit_note(note_of(outcome, out / FILE_NAME), model)
    path = write_audit_card(outcome, model)
    return [*records, *([path] if path else [])]


def _require_record(model: str) -> Path:
    """The folder of a model of ours, into whose record an audit can be written."""
    from erasure.checkpoints.verify_records import read_record
    from erasure.errors import ConfigError
    from pipelines.run.models import find_model

    folder = find_model(model)
    is_here = os.path.exists(os.path.expanduser(model)) and folder.is_dir()
    if not is_here or read_record(folder) is None:
        raise ConfigError(
            "--card writes into the card and the erasure.json of a folder that this program wrote, "
            f"and {model} is none; give the folder of a run, or leave --card out"
        )
    return folder


def _sum(plan: Any) -> dict[str, Any]:  # noqa: ANN401
    values = plan.to_dict()
    return {"pictures": sum(row["draws"] for row in values["rows"]), "seconds": values["seconds"]}


def _rows_of(outcome: "Audit", out: Path, *, as_json: bool) -> dict[str, Any]:
    rows: dict[str, Any] = {"verdict": outcome.sentence}
    if as_json:
        rows["attacks"] = {
            one.name: {"state": one.verdict.state, "why": one.verdict.why}
            for one in outcome.attacks
        }
    else:
        rows |= {one.name: f"{one.verdict.state}: {one.verdict.why}" for one in outcome.attacks}
    return rows | {"audit": out / "audit.json", "page": out / "audit.html"}
