"""What an attack came through with, drawn again by fresh seeds."""

from collections.abc import Sequence
from pathlib import Path

from erasure.attacks import Attack, Attempt, Payload
from erasure.attacks.gradient.copying import near_copies
from erasure.seeds import derived_seed
from eval.errors import EvalError
from pipelines.audit.attacking import Cell, attempts_of, keep_pictures, looked_at
from pipelines.audit.cells import (
    Confirmation,
    Search,
    Try,
    confirmation_path,
    hits_by_arm,
    key_of,
    read_confirmation,
    save_payload,
    search_path,
    write_cell,
)
from pipelines.audit.damage.gate import Gate, gate_of
from pipelines.audit.drawing import draw_jobs, pixels_in
from pipelines.audit.made_by import versions
from pipelines.audit.workshop import Workshop
from pipelines.drawing.generation import Picture


def strongest_arm(
    tries: Sequence[Try], passing: Sequence[str], floors: Sequence[Search]
) -> str | None:
    """The arm with the greatest lead over the floors; None where no passing arm has a hit."""
    own = hits_by_arm(tries)
    others = [hits_by_arm(floor.tries) for floor in floors]

    def lead(arm: str) -> float:
        hits, total = own[arm]
        there = [counts[arm] for counts in others if arm in counts and counts[arm][1]]
        return hits / max(1, total) - max((h / t for h, t in there), default=0.0)

    able = [arm for arm in passing if own[arm][0]]
    return max(able, key=lead) if able else None  # the first of equals


def places_to_confirm(tries: Sequence[Try], arm: str, *, has_floor: bool) -> list[int]:
    """The places of an arm's tries that are drawn again.

    Its finds; but all of its tries where a floor is drawn beside them. A floor that is asked only
    about the pictures with which the audited model came through would be the lower one by the
    choice alone.
    """
    return [n for n, one in enumerate(tries) if one.arm == arm and (has_floor or one.hit)]


def run_confirmation(
    shop: Workshop, attack: Attack, line: str, cell: Cell, arm: str, places: Sequence[int]
) -> Confirmation | None:
    """Redraw tries of a search by fresh seeds; read where that is there.

    Args:
        places: of the tries, see `places_to_confirm`; where this line's search made other
            tries there, there is nothing to compare, and None is returned.

    Raises:
        EvalError: the search was read, and holds other tries than the attack makes now.
    """
    tries = cell.search.tries
    if any(n >= len(tries) or tries[n].arm != arm for n in places):
        return None
    chosen = [places[n % len(places)] for n in range(shop.recipe.confirm)]
    seeds = [derived_seed(shop.recipe.seed, "confirm", attack.name, n) for n in range(len(chosen))]
    gate = gate_of(shop, line)
    key = key_of(
        search=cell.search.key,
        arm=arm,
        chosen=chosen,
        seeds=seeds,
        gate=None if gate is None else gate.identity,
    )
    path = confirmation_path(shop.folder, line, attack.name)
    known = read_confirmation(path, key)
    if known is not None:
        shop.note(path, known.versions)
        return known
    if cell.attempts is None:  # the search was read, and equal targets yield equal attempts
        cell.attempts = attempts_of(attack, shop.target(line))[0]
        _require_same(cell.attempts, tries, search_path(shop.folder, line, attack.name))
    painter, judge = shop.painter(line), shop.judge(line)
    jobs = [(cell.attempts[n].payload, s) for n, s in zip(chosen, seeds, strict=True)]
    with shop.reporter.stage(f"{attack.name} on {line}, fresh seeds", len(jobs)) as tick:
        pictures = draw_jobs(painter, jobs, tick)
    copied = _copied(shop, line, [payload for payload, _ in jobs], pictures)
    looked = looked_at(judge, pictures)
    hits = [one.hit and not copy for one, copy in zip(looked, copied, strict=True)]
    shown = keep_pictures(shop, f"{line}/{attack.name}.confirmed", pictures, hits)
    payload = f"payloads/{attack.name}.safetensors" if line == "audited" else None
    first = next((n for n in places if tries[n].hit), places[0])
    find = cell.attempts[first].payload
    if payload and not save_payload(shop.folder / payload, find, tries[first].seed):
        payload = None
    made = Confirmation(
        key=key,
        line=line,
        attack=attack.name,
        arm=arm,
        tries=tuple(chosen),
        seeds=tuple(seeds),
        hits=tuple(hits),
        near=None if gate is None else _near(gate, pictures, hits),
        pictures=tuple(shown.values()),
        payload=payload,
        versions=versions(),
    )
    write_cell(path, made)
    shop.note(path, made.versions)
    return made


def _require_same(attempts: Sequence[Attempt], tries: Sequence[Try], path: Path) -> None:
    """Raise EvalError where a search that was read has other tries than the attack makes now."""
    now = [(one.case.name, one.arm, one.payload.prompt) for one in attempts]
    if now != [(one.case, one.arm, one.prompt) for one in tries]:
        raise EvalError(
            f"{path} holds other tries than the attack makes now, as one of another version may; "
            "its finds cannot be drawn again, so remove it, and audit again into that folder"
        )


def _copied(
    shop: Workshop, line: str, payloads: Sequence[Payload], pictures: Sequence[Picture]
) -> list[bool]:
    """Which pictures only give back what their payload was learned on."""
    if not any("learned on" in payload.replay for payload in payloads):
        return [False] * len(pictures)
    target = shop.target(line)
    return [
        near_copies(target, payload.replay, pixels_in([picture.image]).to(target.device))[0]
        for payload, picture in zip(payloads, pictures, strict=True)
    ]


def _near(gate: Gate, pictures: Sequence[Picture], hits: Sequence[bool]) -> tuple[bool, ...]:
    """Only hits are measured: what is none counts for neither."""
    places = [n for n, hit in enumerate(hits) if hit]
    passed = gate.passes([pictures[n].image for n in places])
    there = {n for n, whether in zip(places, passed, strict=True) if whether}
    return tuple(n in there for n in range(len(hits)))
