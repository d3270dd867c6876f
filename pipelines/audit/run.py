"""One audit from start to end: gather, attack every model alike, confirm, count, write."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from erasure.attacks import ATTACKS, Attack
from erasure.attacks.protocol import Access
from erasure.errors import CheckpointError, way
from erasure.storage.files import atomic
from pipelines.audit.attacking import Cell, run_search
from pipelines.audit.cells import Confirmation, passing_arms
from pipelines.audit.confirming import (
    places_to_confirm,
    run_confirmation,
    strongest_arm,
)
from pipelines.audit.damage.damage import damage_of, unmeasured
from pipelines.audit.damage.table import write_damage_table
from pipelines.audit.lines import Line, lines_of, open_lines
from pipelines.audit.made_by import grouped, versions
from pipelines.audit.material import require_pictures
from pipelines.audit.outcome.results import (
    AttackRecord,
    Audit,
    attack_record,
    summed_up,
    write_audit,
)
from pipelines.audit.outcome.verdicts import overall
from pipelines.audit.page.page import write_page
from pipelines.audit.planning import Plan, plan_audit, tell_plan
from pipelines.audit.settings import AuditRecipe
from pipelines.audit.telling.public import public_sentences
from pipelines.audit.telling.tables import write_tables
from pipelines.audit.traces import traces_of
from pipelines.audit.workshop import Workshop
from pipelines.configs.recipe import dump_toml
from pipelines.process.processes import processes
from pipelines.process.progress import Reporter
from pipelines.run.model_facts import tell_model
from pipelines.run.models import pick_device
from pipelines.run.run_folder import require_no_other

_HEADER: Final = (
    "A recipe of diffusion-erasure.\n"
    "Paths stand here as they were given, so that it can be used again; leave this file out of "
    "what you publish."
)
_NEVER: Final = (
    "adversarial pictures (RECALL, REFORGE)",
    "guidance by a classifier of noisy latents",
    "searches by a language model or by queries alone",
    "optimised starting noise",
    "what the places of a published mask give away by themselves",
)
"""What no attack of this version tries."""


def run_audit(
    recipe: AuditRecipe, out: Path, *, force: bool, reporter: Reporter, dry: bool = False
) -> Audit | Plan | None:
    """Audit a model; what is in `out` already, made by the same recipe, is used and not made again.

    Args:
        dry: say what it would cost, and stop.

    Returns:
        What was found, or the plan; None in all processes but the first.

    Raises:
        ErasureError: a model, an attack, a picture or the disk.
        EvalError: a judge that cannot be used.
        PromptError: a concept that the model does not know.
    """
    if not dry:
        require_no_other(out, "audit")
    device = pick_device(recipe.device)
    team = processes(device)
    lines = open_lines(recipe)
    if team.first:
        for line in lines.values():
            if line.role not in ("random", "kept"):
                tell_model(line.checkpoint, line.name)
            reporter.tell([f"note: {note}" for note in line.notes])
    shop = Workshop(recipe, lines, out, device, reporter if team.first else Reporter(quiet=True))
    for name in lines:
        shop.judge(name)  # what it cannot tell is said before anything is drawn
    if recipe.pictures is not None:
        require_pictures(recipe.pictures)
    plan = plan_audit(shop)
    if team.first:
        reporter.tell(tell_plan(plan))
    if dry:
        return plan if team.first else None
    if recipe.pictures is not None:
        shop.pictures_given()  # one that cannot be read is told before the folder is begun
    _begin(recipe, out, force=force, first=team.first, wait=team.wait)
    if team.first:
        for name in lines:
            shop.material(name)
    team.wait()
    for number, attack in enumerate(recipe.chosen()):
        if team.has(number):
            attack_all(shop, attack)
    if team.has(len(recipe.chosen())):
        damage_of(shop)
    team.wait()
    if not team.first:
        return None
    audit = _audit(shop, plan)
    reporter.tell([f"note: {text}" for text in audit.mixed])
    write_audit(audit, out)
    write_tables(audit, out)
    write_damage_table(audit.damage, out)
    write_page(audit, out)
    return audit


@dataclass(frozen=True, slots=True)
class Attacked:
    """One attack on all its lines."""

    searches: Mapping[str, Cell]
    confirmations: Mapping[str, Confirmation]


def attack_all(shop: Workshop, attack: Attack) -> Attacked:
    """Search on every line, the controls first, then confirm the audited model's strongest arm on
    all of them; what is on the disk is read."""
    names = lines_of(shop.recipe, attack, shop.lines)
    cells = {name: run_search(shop, attack, name) for name in names}
    tries = cells["audited"].search.tries
    base = cells["base"].search if "base" in cells else None
    passing = passing_arms(base, tries)
    floors = [cells[n].search for n in names if shop.lines[n].is_floor]
    arm = strongest_arm(tries, passing, floors)
    confirmed = {}
    if arm is not None and shop.recipe.draws:
        places = places_to_confirm(tries, arm, has_floor=bool(floors))
        for name in names:
            confirmation = run_confirmation(shop, attack, name, cells[name], arm, places)
            if confirmation is not None:
                confirmed[name] = confirmation
            cells[name].attempts = None  # they may hold tuned weights
    for cell in cells.values():
        cell.attempts = None  # they may hold tuned weights
    return Attacked(cells, confirmed)


def _begin(
    recipe: AuditRecipe, out: Path, *, force: bool, first: bool, wait: Callable[[], None]
) -> None:
    """Make the folder, or go on in it where it is of the same recipe."""
    wait()
    text = dump_toml(recipe, _HEADER)
    path = out / "recipe.toml"
    if path.is_file() and not force and path.read_bytes() != text.encode():
        raise CheckpointError(
            f"{out} holds an audit by another recipe; give another ",
            way("out"),
            ", or ",
            way("force", True),
            " to go on in it with this one",
        )
    wait()
    if first:
        with atomic(path) as part:
            part.write_text(text, encoding="utf-8")
    wait()


def _audit(shop: Workshop, plan: Plan) -> Audit:
    recipe, lines = shop.recipe, shop.lines
    records: list[AttackRecord] = []
    for attack in recipe.chosen():
        done = attack_all(shop, attack)
        searches = {name: cell.search for name, cell in done.searches.items()}
        records.append(
            attack_record(
                attack,
                plan.estimate(attack.name),
                searches,
                done.confirmations,
                shop.material("audited").false_positives,
            )
        )
    verdicts = {record.name: record.verdict for record in records}
    access: dict[str, Access] = {attack.name: attack.access for attack in recipe.chosen()}
    judge = shop.judge("audited")
    shown = shop.material("audited")
    damage = damage_of(shop)
    return Audit(
        concept=lines["audited"].concept,
        sentence=_sentence(shop, overall(lines["audited"].concept, verdicts, access)),
        weakest=summed_up(records),
        models={name: _model(shop, name) for name in lines},
        judge={
            "name": judge.name,
            "protocol": dict(judge.judge.protocol),
            "false_positives": shown.false_positives,
        },
        material={
            "concept": len(shown.concept),
            "shown_to_attacks": (len(shown.concept) + 1) // 2,
            "source": shown.source,
            "without": len(shown.without),
            "wordings": len(shown.understood),
            "wordings_understood": sum(shown.understood),
        },
        attacks=tuple(records),
        traces=traces_of(shop),
        damage=damage,
        not_tested=(*_not_tested(recipe, lines), *unmeasured(damage)),
        public=public_sentences(shop),
        protocol={
            "cases": recipe.cases,
            "draws": recipe.draws,
            "passes": recipe.passes,
            "confirm": recipe.confirm,
            "steps": recipe.steps,
            "guidance": recipe.guidance,
            "size": recipe.size,
            "seed": recipe.seed,
            "batch_size": recipe.batch_size,
        },
        versions=versions(),
        made_by=grouped(shop.made_by),
        seconds={name: round(spent, 3) for name, spent in shop.reporter.seconds.items()},
    )


def _sentence(shop: Workshop, verdict: str) -> str:
    guard = shop.guard("audited")
    return verdict if guard is None else f"With the guard {guard.described()}: {verdict}"


def _model(shop: Workshop, name: str) -> dict[str, object]:
    line, guard = shop.lines[name], shop.guard(name)
    made = line.checkpoint.provenance
    return {
        "name": "random weights" if line.role == "random" else line.checkpoint.name,
        "role": line.role,
        "hash": shop.network_hash(name),
        "weights": dict(shop.hashes(name)),
        "concept": line.concept,
        "provenance": made.to_dict() if made else None,
        "guard": None if guard is None else guard.described(),
        "notes": list(line.notes),
    }


def _not_tested(recipe: AuditRecipe, lines: Mapping[str, Line]) -> tuple[str, ...]:
    left = [f"{name}: not asked for" for name in ATTACKS if name not in recipe.names]
    if "base" not in lines:
        left.append("no base was given, so no attack has a positive control")
    if not any(line.role == "retrained" for line in lines.values()):
        left.append(
            "no model retrained without the concept was given, so teaching cannot be told from "
            "remembering"
        )
    return (*left, *_NEVER)
