"""`erasure audit`: does the concept come back under attack, and what was not tried?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.options import AsJson, Force, say
from pipelines.configs.everyday import AUDIT, AUDIT_RECIPE
from pipelines.process.one_voice import one_voice
from pipelines.process.recipe_options import recipe_options
from pipelines.run.claims import claim

if TYPE_CHECKING:
    from pipelines.audit.results import Audit


@one_voice()
@recipe_options(AUDIT_RECIPE, AUDIT, own_after="budget")
def audit(
    options: dict[str, Any],
    out: Annotated[Path | None, typer.Option(help="Folder to write.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A TOML file of these settings.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what each attack would cost, and stop.")
    ] = False,
    card: Annotated[
        bool, typer.Option("--card", help="Also write the verdict into the model's card.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Attack an erased model, its base and its controls alike.

    Writes audit.json, attacks.csv and audit.html. What is finished is kept: the same command goes
    on where it was cut. `torchrun --nproc_per_node 2 -m pipelines.cli audit ...` shares the attacks
    among processes.
    """
    from erasure.errors import ConfigError
    from pipelines.configs.recipe_files import load_toml, merge
    from pipelines.early import require_model_name

    if out is None and not dry_run:
        raise ConfigError("there is no --out; give the folder to write the audit to")
    under = load_toml(recipe) if recipe else {}
    both = merge(under, options)
    for name in (both.get("model"), both.get("against"), *both.get("retrained", ())):
        if isinstance(name, str):
            require_model_name(name)
    claim(None if dry_run else out)
    from pipelines.audit.planning import Plan
    from pipelines.audit.run import run_audit
    from pipelines.audit.settings import recipe_for
    from pipelines.process.progress import Reporter
    from pipelines.run.memory import Less, enough_memory, halved
    from pipelines.run.models import pick_device

    resolved = recipe_for(options, under)
    less = Less(halved("batch_size", resolved.batch_size))
    with enough_memory("auditing", less, pick_device(resolved.device)):
        outcome = run_audit(resolved, out or Path(), force=force, reporter=Reporter(), dry=dry_run)
    if isinstance(outcome, Plan):
        say(outcome.to_dict() if as_json else _sum(outcome), as_json=as_json)
    elif outcome is not None:
        assert out is not None
        say(_told(outcome, out, as_json=as_json), as_json=as_json)


def _carded(outcome: "Audit", model: str) -> Path | str:
    from pipelines.audit.card import write_audit_card
    from pipelines.run.models import find_model

    ours = outcome.models["audited"]["provenance"] is not None and Path(model).exists()
    path = write_audit_card(outcome, find_model(model)) if ours else None
    return path or "only a folder that `erasure erase` wrote has a card to write into"


def _sum(plan: Any) -> dict[str, Any]:  # noqa: ANN401
    values = plan.to_dict()
    return {"pictures": sum(row["draws"] for row in values["rows"]), "seconds": values["seconds"]}


def _told(outcome: "Audit", out: Path, *, as_json: bool) -> dict[str, Any]:
    rows: dict[str, Any] = {"verdict": outcome.sentence}
    if as_json:
        rows["attacks"] = {
            one.name: {"state": one.verdict.state, "why": one.verdict.why}
            for one in outcome.attacks
        }
    else:
        rows |= {one.name: f"{one.verdict.state}: {one.verdict.why}" for one in outcome.attacks}
    return rows | {"audit": out / "audit.json", "page": out / "audit.html"}
