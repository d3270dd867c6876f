"""Curves of attacks side by side, of audits that looked in the same way at the same concept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from erasure.storage.tables import to_table
from pipelines.audit.outcome.curves import Mark
from pipelines.audit.outcome.results import AttackRecord, Audit
from pipelines.audit.page.charts import Chart, chart
from pipelines.comparison.protocols import flat
from pipelines.comparison.sources import Compared

BASE: Final = "base"
AUDITED: Final = "audited"
_FREE: Final = ("batch_size",)
"""A picture is the same in any batch."""
_SETTING: Final = "setting "
"""What the names of the settings of attacks begin with."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What one attack came to on one run."""

    name: str
    state: str
    why: str
    confirmed: str
    """`20 of 30`; empty where nothing was found to be confirmed."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One attack on all runs of a group."""

    attack: str
    title: str
    access: str
    chart: Chart | None
    fates: tuple[Fate, ...]


@dataclass(frozen=True, slots=True)
class AttackGroup:
    """Audits of one concept by one protocol against one base."""

    concept: str
    base: str
    names: tuple[str, ...]
    """Runs; the charts' lines are in this order, the base first where it has a curve."""
    differs: tuple[str, ...]
    """Why it cannot be compared with the first group: a field with both values each."""
    panels: tuple[Panel, ...]


def attack_groups(rows: Sequence[Compared]) -> list[AttackGroup]:
    """Put audits that can be compared together; none where no run has an audit."""
    groups: list[tuple[dict[str, str], list[tuple[str, Audit]]]] = []
    for row in rows:
        if row.audit is None:
            continue
        fields = _protocol(row.audit)
        own = next((group for group in groups if not _differing(group[0], fields)), None)
        if own is None:
            groups.append((fields, [(row.name, row.audit)]))
        else:
            own[0].update(fields)  # settings of attacks that the others did not make
            own[1].append((row.name, row.audit))
    return [_group(fields, members, groups[0][0]) for fields, members in groups]


def lines_of(group: AttackGroup) -> tuple[str, ...]:
    """The lines of its charts, the base last, as they are coloured."""
    return (*group.names, f"{group.base} (base)")


def _group(
    fields: Mapping[str, str], members: Sequence[tuple[str, Audit]], first: Mapping[str, str]
) -> AttackGroup:
    attacks = dict.fromkeys(one.name for _, audit in members for one in audit.attacks)
    base = str(members[0][1].models.get(BASE, {}).get("name", "no base"))
    return AttackGroup(
        concept=fields["concept"],
        base=base,
        names=tuple(name for name, _ in members),
        differs=tuple(
            f"{name} is {fields.get(name, 'absent')} here and {first.get(name, 'absent')} above"
            for name in _differing(first, fields)
        ),
        panels=tuple(_panel(name, members, base) for name in attacks),
    )


def _panel(attack: str, members: Sequence[tuple[str, Audit]], base: str) -> Panel:
    there = [
        (name, record)
        for name, audit in members
        for record in audit.attacks
        if record.name == attack
    ]
    curves: dict[str, Sequence[Mark]] = {}
    with_base = next((r for _, r in there if BASE in r.lines and _sound(r.lines[BASE].curve)), None)
    if with_base is not None:
        curves[f"{base} (base)"] = with_base.lines[BASE].curve
    for name, record in there:
        if AUDITED in record.lines and _sound(record.lines[AUDITED].curve):
            curves[name] = record.lines[AUDITED].curve
    first = there[0][1]
    return Panel(
        attack=attack,
        title=first.title,
        access=first.access,
        chart=chart(curves),
        fates=tuple(_fate(name, record) for name, record in there),
    )


def _fate(name: str, record: AttackRecord) -> Fate:
    own = record.lines.get(AUDITED)
    share = None if own is None else own.confirmed
    words = "" if share is None else f"{share.count} of {share.total}"
    return Fate(name, record.verdict.state, record.verdict.why, words)


def _sound(marks: Sequence[Mark]) -> bool:
    """Whether a curve can be drawn: draws rise from 1 on, shares and bounds lie in [0, 1]."""
    draws = [mark.draws for mark in marks]
    shares = [x for m in marks for x in (m.share.low, m.share.share, m.share.high)]
    rising = bool(draws) and draws[0] >= 1 and draws == sorted(draws)
    return rising and all(0 <= share <= 1 for share in shares)  # False for NaN


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The fields that differ; a setting of an attack that one of both did not make does not."""
    return [
        name
        for name in dict.fromkeys((*one, *other))
        if one.get(name) != other.get(name)
        and not (name.startswith(_SETTING) and (name not in one or name not in other))
    ]


def _protocol(audit: Audit) -> dict[str, str]:
    """All that two audits must have in common, as text; what says most comes first."""
    judge: Mapping[str, Any] = audit.judge
    base = audit.models.get(BASE, {})
    fields: dict[str, Any] = {
        "concept": audit.concept,
        "base": base.get("hash", "none"),
        "judge": judge.get("name", "unknown"),
        **dict(flat("judge", judge.get("protocol", {}))),
        **{k: v for k, v in to_table(audit.protocol).items() if k not in _FREE},
        **{
            f"{_SETTING}{one.name}.{name}": value
            for one in audit.attacks
            for name, value in to_table(one.settings).items()
        },
    }
    return {str(name): str(value) for name, value in fields.items()}
