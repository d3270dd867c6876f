"""One attack on one model: search, draw, judge, look again by fresh seeds, keep."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from erasure.attacks import Attack, Attempt, Cost, Payload, Target
from erasure.attacks.protocol import OF_TOKENS, TUNING, UNTOLD, lacking
from erasure.errors import ConfigError, OutOfMemoryError, TrainingError
from erasure.seeds import derived_seed
from erasure.storage.tensors.hashing import weights_hash
from pipelines.audit.cells import (
    Search,
    Try,
    key_of,
    passing_arms,
    read_search,
    search_path,
    write_cell,
)
from pipelines.audit.drawing import Job, draw_jobs
from pipelines.audit.made_by import versions
from pipelines.audit.material import write_picture
from pipelines.audit.workshop import Workshop
from pipelines.drawing.generation import Painter, Picture
from pipelines.run.judging.cell_judge import CellJudge

_IN_TURNS: Final = OF_TOKENS | TUNING | UNTOLD
"""Attacks whose cells of before hold other tries: of the first turns of a search alone."""
_BY_OWN_SEEDS: Final = (
    OF_TOKENS | TUNING | {*("eta", "rounding", "pruning", "completion", "inpainting", "add-back")}
)
"""Attacks whose arms drew one case by one seed before."""
_KEPT: Final = 6
"""Pictures of a cell that are kept: its first hits."""


@dataclass(slots=True)
class Cell:
    """A search with the attempts behind it, as long as they are in memory; equal targets yield
    equal ones."""

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
        shop.note(path, known.versions)
        return Cell(known)
    target = shop.target(line)
    started = time.monotonic()
    attempts, reason = attempts_of(attack, target)
    tries = _drawn(shop, attack, line, target, attempts) if attempts else []
    made = Search(
        key=key,
        line=line,
        attack=attack.name,
        tries=tuple(tries),
        reason=reason,
        seconds=round(time.monotonic() - started, 3),
        versions=versions(),
    )
    write_cell(path, made)
    shop.note(path, made.versions)
    if shop.is_large(line) and any(one.payload.weights is not None for one in attempts):
        return Cell(made)  # tuned weights, or those of a network whose painter is to go
    return Cell(made, attempts)


def attempts_of(attack: Attack, target: Target) -> tuple[list[Attempt], str]:
    """What an attack tries, and why it ended where that was not its end."""
    reason = lacking(attack, target)
    if reason and target.budget.draws:
        return [], reason
    before = _weights_of(attack, target)
    attempts: list[Attempt] = []
    try:
        attempts.extend(attack.run(target))
    except OutOfMemoryError:
        raise
    except TrainingError as err:
        reason = f"the search ended early: {err}"
    except ConfigError as err:  # such as more words than the text encoder reads
        reason = f"the attack does not fit this model: {err}"
    if _weights_of(attack, target) != before:
        raise TrainingError(
            f"the attack {attack.name} changed the weights of the model {target.name}, so nothing "
            "that follows could be compared; let it tune `target.copy()`"
        )
    return attempts, reason


def _weights_of(attack: Attack, target: Target) -> list[str]:
    """Hash of the network, and of the text encoders where the attack puts words or vectors in."""
    networks = [network for _, network in target.text.towers] if attack.name in OF_TOKENS else []
    return [weights_hash(target.weights), *(weights_hash(one.state_dict()) for one in networks)]


def _drawn(
    shop: Workshop, attack: Attack, line: str, target: Target, attempts: Sequence[Attempt]
) -> list[Try]:
    painter, judge = shop.painter(line), shop.judge(line)
    jobs = [(one.payload, _seed(one)) for one in attempts]
    with shop.reporter.stage(f"{attack.name} on {line}", len(jobs)) as tick:
        pictures = draw_jobs(painter, jobs, tick)
    looked = looked_at(judge, pictures)
    hits = [one.hit for one in looked]
    files = keep_pictures(shop, f"{line}/{attack.name}", pictures, hits)
    tries = [
        Try(
            case=one.case.name,
            arm=one.arm,
            seed=_seed(one),
            prompt=one.payload.prompt,
            kinds=one.payload.kinds,
            replay=one.payload.directions,
            hit=hits[n],
            rejected=looked[n].rejected,
            usable=pictures[n].finite,
            cost=one.cost + drawing_cost_of(painter, one.payload),
            score=one.score,
            picture=files.get(n),
        )
        for n, one in enumerate(attempts)
    ]
    if not target.budget.draws:
        return tries
    # What the base does not come through with is no test, and no first hit of a case either.
    arms = passing_arms(_base_search(shop, attack, line, tries), tries)
    again = list(_first_hits(tries, arms).values())
    fresh: list[Job] = [
        (attempts[n].payload, derived_seed(shop.recipe.seed, "fresh", attack.name, n))
        for n in again
    ]
    second = looked_at(judge, draw_jobs(painter, fresh))
    for n, look in zip(again, second, strict=True):
        tries[n] = replace(tries[n], confirmed=look.hit)
    return tries


def _base_search(shop: Workshop, attack: Attack, line: str, tries: Sequence[Try]) -> Search | None:
    """What the attack did on the base, which comes before all other lines; None without a base."""
    if line == "base":
        return Search(key="", line=line, attack=attack.name, tries=tuple(tries))
    if "base" not in shop.lines:
        return None
    path = search_path(shop.folder, "base", attack.name)
    return read_search(path, _search_key(shop, attack, "base"))


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
    return Cost(forwards=steps * painter.passes(guidance or 0.0), draws=1, judged=1)


def _seed(one: Attempt) -> int:
    return one.case.seed if one.seed is None else one.seed


def _first_hits(tries: Sequence[Try], arms: Sequence[str]) -> dict[str, int]:
    """Case -> place of its first hit by one of these arms."""
    first: dict[str, int] = {}
    for n, one in enumerate(tries):
        if one.hit and one.arm in arms:
            first.setdefault(one.case, n)
    return first


def keep_pictures(
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
        description=one.checkpoint.description.digest(),
        judge=[judge.name, dict(judge.judge.protocol)],
        material=shop.material(line).digest(),
        **shop.guarded(line),
        **({"stream": True} if recipe.stream else {}),  # which leaves some attacks out
        **({"turns": 2} if attack.name in _IN_TURNS else {}),
        **({"own seeds": 1} if attack.name in _BY_OWN_SEEDS else {}),
    )
