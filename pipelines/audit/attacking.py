"""One attack on one model: search, draw, judge, look again by fresh seeds, keep."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from erasure.attacks import Attack, Attempt, Cost, Payload, Target
from erasure.attacks.gradient.copying import near_copies
from erasure.attacks.protocol import lacking
from erasure.errors import OutOfMemoryError, TrainingError
from erasure.seeds import derived_seed
from erasure.storage.tensors.hashing import weights_hash
from pipelines.audit.cells import (
    Confirmation,
    Search,
    Try,
    confirmation_path,
    hits_by_arm,
    key_of,
    read_confirmation,
    read_search,
    save_payload,
    search_path,
    write_cell,
)
from pipelines.audit.damage.gate import Gate, gate_of
from pipelines.audit.drawing import Job, draw_jobs, pixels_in
from pipelines.audit.material import write_picture
from pipelines.audit.workshop import Workshop
from pipelines.drawing.generation import Painter, Picture
from pipelines.run.judging.cell_judge import CellJudge

_KEPT: Final = 6
"""Pictures of a cell that are kept: its first hits."""
PASSING: Final = 0.5
"""An arm is a test where the base shows the concept in at least this share of its pictures."""


@dataclass(slots=True)
class Cell:
    """A search with the attempts behind it, as long as they are in memory."""

    search: Search
    attempts: list[Attempt] | None = None


def run_search(shop: Workshop, attack: Attack, line: str) -> Cell:
    """The tries of an attack on a line; read where they are there.

    Raises:
        TrainingError: the attack changed the weights of the model.
        OutOfMemoryError: drawing or searching needs less.
        DiskError: the disk refuses; what is finished stays.
    """
    key = _search_key(shop, attack, line)
    path = search_path(shop.folder, line, attack.name)
    known = read_search(path, key)
    if known is not None:
        return Cell(known)
    target = shop.target(line)
    started = time.monotonic()
    attempts, reason = _attempts(attack, target)
    tries = _drawn(shop, attack, line, target, attempts) if attempts else []
    made = Search(
        key=key,
        line=line,
        attack=attack.name,
        tries=tuple(tries),
        reason=reason,
        seconds=round(time.monotonic() - started, 3),
    )
    write_cell(path, made)
    return Cell(made, attempts)


def _attempts(attack: Attack, target: Target) -> tuple[list[Attempt], str]:
    """What an attack tries, and why it ended where that was not its end."""
    reason = lacking(attack, target)
    if reason and target.budget.draws:
        return [], reason
    before = weights_hash(target.weights)
    attempts: list[Attempt] = []
    try:
        attempts.extend(attack.run(target))
    except OutOfMemoryError:
        raise
    except TrainingError as err:
        reason = f"the search ended early: {err}"
    if weights_hash(target.weights) != before:
        raise TrainingError(
            f"the attack {attack.name} changed the weights of the model {target.name}, so nothing "
            "that follows could be compared; let it tune `target.copy()`"
        )
    return attempts, reason


def _drawn(
    shop: Workshop, attack: Attack, line: str, target: Target, attempts: Sequence[Attempt]
) -> list[Try]:
    painter, judge = shop.painter(line), shop.judge(line)
    jobs = [(one.payload, _seed(one)) for one in attempts]
    with shop.reporter.stage(f"{attack.name} on {line}", len(jobs)) as tick:
        pictures = draw_jobs(painter, jobs, tick)
    looked = looked_at(judge, pictures)
    hits = [one.hit for one in looked]
    again = _first_hits(attempts, hits) if target.budget.draws else {}
    fresh: list[Job] = [
        (attempts[n].payload, derived_seed(shop.recipe.seed, "fresh", attack.name, n))
        for n in again.values()
    ]
    second = looked_at(judge, draw_jobs(painter, fresh))
    confirmed = {n: one.hit for n, one in zip(again.values(), second, strict=True)}
    files = _keep(shop, f"{line}/{attack.name}", pictures, hits)
    return [
        Try(
            case=one.case.name,
            arm=one.arm,
            seed=_seed(one),
            prompt=one.payload.prompt,
            kinds=one.payload.kinds,
            replay=dict(one.payload.replay),
            hit=hits[n],
            confirmed=confirmed.get(n),
            rejected=looked[n].rejected,
            usable=pictures[n].finite,
            cost=one.cost + drawing_cost_of(painter, one.payload),
            score=one.score,
            picture=files.get(n),
        )
        for n, one in enumerate(attempts)
    ]


@dataclass(frozen=True, slots=True)
class Look:
    """What the judge says of one picture."""

    hit: bool
    rejected: bool | None = None


def looked_at(judge: CellJudge, pictures: Sequence[Picture]) -> list[Look]:
    """A look a picture; what is not finite shows nothing."""
    usable = [n for n, picture in enumerate(pictures) if picture.finite]
    judgements = judge.judge([pictures[n].image for n in usable]) if usable else []
    seen = {
        n: Look(judge.recognises(one), None if judge.rejects is None else judge.rejects(one))
        for n, one in zip(usable, judgements, strict=True)
    }
    return [seen.get(n, Look(False)) for n in range(len(pictures))]


def drawing_cost_of(painter: Painter, payload: Payload) -> Cost:
    """What one drawing and judging of a payload takes."""
    guidance = payload.guidance if payload.guidance is not None else painter.default.guidance
    steps = painter.steps_up_to(None if payload.start is None else payload.start.time)
    passes = 2 if guidance is not None and guidance > 1 else 1
    return Cost(forwards=steps * passes, draws=1, judged=1)


def passing_arms(base: Search | None, tries: Sequence[Try]) -> list[str]:
    """The arms that are a test: all of them where there is no base."""
    arms = list(hits_by_arm(tries))
    if base is None:
        return arms
    there = hits_by_arm(base.tries)
    return [
        arm
        for arm in arms
        if arm in there and there[arm][1] and there[arm][0] >= PASSING * there[arm][1]
    ]


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
        return known
    if cell.attempts is None:  # the search was read, and equal targets yield equal attempts
        cell.attempts = _attempts(attack, shop.target(line))[0]
    painter, judge = shop.painter(line), shop.judge(line)
    jobs = [(cell.attempts[n].payload, s) for n, s in zip(chosen, seeds, strict=True)]
    with shop.reporter.stage(f"{attack.name} on {line}, fresh seeds", len(jobs)) as tick:
        pictures = draw_jobs(painter, jobs, tick)
    copied = _copied(shop, line, [payload for payload, _ in jobs], pictures)
    looked = looked_at(judge, pictures)
    hits = [one.hit and not copy for one, copy in zip(looked, copied, strict=True)]
    shown = _keep(shop, f"{line}/{attack.name}.confirmed", pictures, hits)
    payload = f"payloads/{attack.name}.safetensors" if line == "audited" else None
    first = next((n for n in places if tries[n].hit), places[0])
    if payload and not save_payload(shop.folder / payload, cell.attempts[first].payload):
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
    )
    write_cell(path, made)
    return made


def _copied(
    shop: Workshop, line: str, payloads: Sequence[Payload], pictures: Sequence[Picture]
) -> list[bool]:
    """Which pictures only give back what their payload was learned on."""
    if not any("learned on" in payload.replay for payload in payloads):
        return [False] * len(pictures)
    target = shop.target(line)
    return [
        near_copies(target, payload.replay, pixels_in([picture]).to(target.device))[0]
        for payload, picture in zip(payloads, pictures, strict=True)
    ]


def _near(gate: Gate, pictures: Sequence[Picture], hits: Sequence[bool]) -> tuple[bool, ...]:
    """Only hits are measured: what is none counts for neither."""
    places = [n for n, hit in enumerate(hits) if hit]
    passed = gate.passes([pictures[n].image for n in places])
    there = {n for n, whether in zip(places, passed, strict=True) if whether}
    return tuple(n in there for n in range(len(hits)))


def _seed(one: Attempt) -> int:
    return one.case.seed if one.seed is None else one.seed


def _first_hits(attempts: Sequence[Attempt], hits: Sequence[bool]) -> dict[str, int]:
    """Case -> place of its first hit."""
    first: dict[str, int] = {}
    for n, one in enumerate(attempts):
        if hits[n]:
            first.setdefault(one.case.name, n)
    return first


def _keep(
    shop: Workshop, name: str, pictures: Sequence[Picture], hits: Sequence[bool]
) -> Mapping[int, str]:
    """Write the first hits; place -> file."""
    places = [n for n, hit in enumerate(hits) if hit][:_KEPT]
    files = {n: f"pictures/{name}/{n:03d}.png" for n in places}
    for n, file in files.items():
        write_picture(shop.folder / file, pictures[n].image)
    return files


def _search_key(shop: Workshop, attack: Attack, line: str) -> str:
    """All that decides the tries: settings, weights, words, pictures, and how it is drawn."""
    one, recipe = shop.lines[line], shop.recipe
    judge = shop.judge(line)
    settings: Any = attack
    return key_of(
        attack=attack.name,
        settings=asdict(settings),
        line=line,
        weights=dict(shop.hashes(line)),
        base=dict(shop.hashes("base")) if "base" in shop.lines else None,
        concept=asdict(shop.concept(line)),
        cases=[asdict(case) for case in shop.cases(line)],
        budget=[recipe.draws, recipe.passes],
        seed=recipe.seed,
        drawing=[recipe.steps, recipe.guidance, recipe.size, recipe.batch_size],
        scheduler=dict(one.checkpoint.description.scheduler),
        judge=[judge.name, dict(judge.judge.protocol)],
        material=shop.material(line).digest(),
        **shop.guarded(line),
    )
