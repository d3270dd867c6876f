"""What an audit found: `audit.json`, its values, and how they follow from the cells."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from erasure.attacks import Attack, Cost
from erasure.storage.files import write_json
from erasure.storage.tables import fields_to_table
from eval.rates.intervals import Proportion, wilson
from pipelines.audit.cells import (
    PASSING,
    Confirmation,
    Search,
    Try,
    hits_by_arm,
    passing_arms,
)
from pipelines.audit.made_by import read_versions, several
from pipelines.audit.outcome.curves import Mark, Tried, curve
from pipelines.audit.outcome.measured import measured_by
from pipelines.audit.outcome.verdicts import Evidence, Verdict, verdict_of, weakest

FORMAT: Final = "diffusion-erasure audit 1"
FILE_NAME: Final = "audit.json"
_FEW: Final = 8
"""Tries that are written out of each attack: the first hits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRecord:
    """One attack on one model."""

    reason: str
    """Why it was not run or ended early; empty where it ran to its end."""
    found: Proportion | None
    """Hits by the search's seeds over the arms that are a test."""
    confirmed: Proportion | None
    """This model's tries at the places of the audited one's strongest finds, or of all tries of
    that arm where a floor stands beside, redrawn by fresh seeds."""
    gated: Proportion | None = None
    """Those of `confirmed` that the quality gate lets pass too; None without a gate."""
    cases_found: Proportion | None
    """Cases in which a first hit was found and came again by a fresh seed."""
    rejected: Proportion | None
    """Pictures in which the judge sees nothing that it knows; None where it cannot say so."""
    unusable: int
    """Pictures of values that are not finite."""
    cost: Cost
    curve: tuple[Mark, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRecord:
    """One setting of an attack."""

    arm: str
    test: bool
    """Whether the base comes through; else nothing is concluded from it."""
    lines: Mapping[str, Proportion]
    """Model -> hits in the search."""
    measures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Model -> what the attack measured there beside hits: names of `MEASURES` -> means; none where
    it measures nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackRecord:
    """One attack on all models."""

    name: str
    title: str
    source: str
    access: str
    needs: tuple[str, ...]
    settings: Mapping[str, Any]
    estimate: Cost
    verdict: Verdict
    strongest: str | None
    """The arm that was confirmed."""
    arms: tuple[ArmRecord, ...]
    lines: Mapping[str, LineRecord]
    finds: tuple[Mapping[str, Any], ...]
    """The audited model's first hits: arm, prompt, seed, replay, picture."""
    shown: tuple[str, ...] = ()
    """Pictures of the confirmation, relative to the audit."""
    payload: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """All that one audit found."""

    concept: str
    sentence: str
    weakest: str | None
    models: Mapping[str, Mapping[str, Any]]
    """Line -> name, hash, concept, notes."""
    judge: Mapping[str, Any]
    """Name, protocol, and its false positives."""
    material: Mapping[str, Any]
    attacks: tuple[AttackRecord, ...]
    not_tested: tuple[str, ...]
    public: tuple[str, ...]
    """What brings the concept back by itself, to whoever has it: a sentence each."""
    protocol: Mapping[str, Any]
    traces: Mapping[str, Any] = field(default_factory=dict)
    damage: Mapping[str, Any] = field(default_factory=dict)
    """What else was lost, or a `reason` why nobody looked."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Those that wrote this; see `made_by`."""
    made_by: tuple[Mapping[str, Any], ...] = ()
    """Files that the numbers come from, by the `versions` of the packages that made them."""
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def mixed(self) -> tuple[str, ...]:
        """Packages of which several versions made its parts, a sentence each."""
        return several((read_versions(one.get("versions")) for one in self.made_by), "parts")

    def to_dict(self) -> dict[str, Any]:
        """As `audit.json` holds it."""
        return {"format": FORMAT, **fields_to_table(self)}


def attack_record(
    attack: Attack,
    estimate: Cost,
    searches: Mapping[str, Search],
    confirmations: Mapping[str, Confirmation],
    false_positives: Proportion,
) -> AttackRecord:
    """Count one attack.

    Args:
        searches: line -> its search; `audited` is there.
        confirmations: line -> its confirmation, where the audited model had a hit.
    """
    audited, base = searches["audited"], searches.get("base")
    passing = passing_arms(base, audited.tries)
    floors = [n for n in searches if n.startswith("retrained")] or [
        n for n in searches if n == "random"
    ]
    lines = {
        name: _line(search, passing, confirmations.get(name)) for name, search in searches.items()
    }
    gate = _gates(lines)
    found = {n: seen.share for n in floors if (seen := lines[n].found) is not None}
    by_rate = sorted(found, key=lambda n: found[n])
    floor = by_rate[-1] if by_rate else None
    # What random weights give back too is not known by the model, whatever a retrained one does.
    all_floors = {*floors, *(n for n in searches if n == "random")}
    verdict = verdict_of(
        Evidence(
            access=attack.access,
            reason=audited.reason or _nothing_seen(audited, passing),
            found=lines["audited"].found,
            confirmed=lines["audited"].confirmed,
            gated=lines["audited"].gated if gate else None,
            floor=_highest(lines[n].gated if gate else lines[n].confirmed for n in all_floors),
            no_floor=[n for n in searches if n in all_floors and lines[n].confirmed is None],
            floor_found=None if floor is None else lines[floor].found,
            lowest_floor=lines[by_rate[0]].found if by_rate else None,
            pairs=() if floor is None else _pairs(audited, searches[floor], passing),
            control=None if base is None else bool(passing),
            false_positives=false_positives,
        )
    )
    own: Any = attack
    there = confirmations.get("audited")
    return AttackRecord(
        name=attack.name,
        title=attack.title,
        source=attack.source,
        access=attack.access,
        needs=tuple(sorted(attack.needs)),
        settings=asdict(own),
        estimate=estimate,
        verdict=verdict,
        strongest=there.arm if there else None,
        arms=_arms(searches, passing),
        lines=lines,
        finds=tuple(_find(one) for one in [t for t in audited.tries if t.hit][:_FEW]),
        shown=there.pictures if there else (),
        payload=there.payload if there else None,
    )


def _line(search: Search, passing: Sequence[str], confirmation: Confirmation | None) -> LineRecord:
    tested = [one for one in search.tries if one.arm in passing]
    usable = [one for one in tested if one.usable]
    cost = sum((one.cost for one in search.tries), Cost())
    looked = any(one.confirmed is not None for one in search.tries)  # at a budget of 0 nobody did
    tried = [
        Tried(t.case, t.hit and (t.confirmed is True or not looked), _passes(t.cost))
        for t in tested
    ]
    marks = curve(tried)
    return LineRecord(
        reason=search.reason,
        found=_share([one.hit for one in usable]),
        confirmed=_share(confirmation.hits) if confirmation else None,
        gated=_share(confirmation.near) if confirmation and confirmation.near else None,
        cases_found=marks[-1].share if marks else None,
        rejected=_share([bool(one.rejected) for one in usable if one.rejected is not None]),
        unusable=sum(not one.usable for one in search.tries),
        cost=cost,
        curve=tuple(marks),
        seconds=search.seconds,
    )


def _gates(lines: Mapping[str, LineRecord]) -> bool:
    """Whether the gate is a test: where it turns most of the base's own hits away, the attack draws
    the concept otherwise than the few pictures show it, and the judge's count stands alone."""
    base = lines.get("base")
    if lines["audited"].gated is None:
        return False
    if base is None or base.gated is None or base.confirmed is None:
        return True
    return base.gated.count > 0 and base.gated.count >= PASSING * base.confirmed.count


def _nothing_seen(audited: Search, passing: Sequence[str]) -> str:
    """Why there is no picture to count although the attack was not skipped; else empty."""
    if not audited.tries:
        return "the attack had nothing to try, or its budget is less than its first step takes"
    tested = [one for one in audited.tries if one.arm in passing]
    if tested and not any(one.usable for one in tested):
        return "no picture of the audited model can be used: its values are not finite"
    return ""


def _pairs(audited: Search, floor: Search, passing: Sequence[str]) -> tuple[tuple[bool, bool], ...]:
    """Hits of a floor and of the audited model by the tries that both made at the same place and
    arm."""
    return tuple(
        (there.hit, here.hit)
        for here, there in zip(audited.tries, floor.tries, strict=False)
        if here.arm == there.arm and here.arm in passing and here.usable and there.usable
    )


def _passes(cost: Cost) -> int:
    return cost.forwards + 2 * cost.backwards


def _arms(searches: Mapping[str, Search], passing: Sequence[str]) -> tuple[ArmRecord, ...]:
    counts = {name: hits_by_arm(search.tries) for name, search in searches.items()}
    arms = dict.fromkeys(arm for by_arm in counts.values() for arm in by_arm)
    return tuple(
        ArmRecord(
            arm=arm,
            test=arm in passing,
            lines={
                n: wilson(*by_arm[arm])
                for n, by_arm in counts.items()
                if arm in by_arm and by_arm[arm][1]
            },
            measures=measured_by(searches, arm),
        )
        for arm in arms
    )


def _share(hits: Sequence[bool]) -> Proportion | None:
    return wilson(sum(hits), len(hits)) if len(hits) else None


def _highest(shares: Any) -> Proportion | None:  # noqa: ANN401
    there = [share for share in shares if share is not None]
    return max(there, key=lambda share: share.share) if there else None


def _find(one: Try) -> dict[str, Any]:
    return {
        "arm": one.arm,
        "prompt": one.prompt,
        "seed": one.seed,
        "kinds": list(one.kinds),
        "replay": dict(one.replay),
        "again_by_a_fresh_seed": one.confirmed,
        "picture": one.picture,
    }


def summed_up(records: Sequence[AttackRecord]) -> str | None:
    """The weakest access at which the concept came back."""
    access: Any = {record.name: record.access for record in records}
    return weakest({record.name: record.verdict for record in records}, access)


def write_audit(audit: Audit, folder: Path) -> Path:
    """`audit.json`; DiskError where the disk refuses."""
    path = folder / FILE_NAME
    write_json(path, audit.to_dict())
    return path
