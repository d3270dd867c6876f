"""Columns of the parts of a cell that are asked for by name: distances and attacks."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pipelines.bench.sources import Sources
from pipelines.bench.tables.audited import attacked, share_in
from pipelines.bench.tables.column import Column, Value
from pipelines.distances.entries import TITLES, Name
from pipelines.json_values import finite_number, object_in, objects_in

AUDITED: Final = "audited"
"""The model of the cell itself, as distances and audits call it."""
_SIGNED: Final = "D3"
"""The distance that says by its sign on which side of the retrained model it lies."""
_INFINITE: Final = "infinite"
_SEARCHED: Final = "in the search"
"""Said of a share of which nothing was drawn again, where no verdict stands beside it."""


def distance_column(name: Name) -> Column:
    """The largest of a distance's headlines, in units of two retrained seeds; D8 as is.

    Of D3 it is the one that is farthest from 0: a model that remembers under one text and is like
    a retrained one under the other remembers.
    """

    def beside(sources: Sources, kind: str) -> Value | None:
        entries = objects_in(sources.distance, "entries")
        own = [e for e in entries if e.get("name") == name and e.get("headline")]
        values = [v for e in own if (v := _reading(e, kind)) is not None]
        return max(values, key=far, default=None)

    def far(value: Value) -> float:
        if value.value is None:
            return math.inf
        return abs(value.value) if name == _SIGNED else value.value

    return Column(
        key=name.lower(),
        title=f"{name} {TITLES[name]}",
        about=f"The distance to the retrained model by {TITLES[name]}; see docs/distance.md.",
        unit="units",
        better=None if name in (_SIGNED, "D8") else "lower",
        says=True,
        read=lambda sources: beside(sources, AUDITED),
        beside=beside,
    )


def _reading(entry: Mapping[str, Any], kind: str) -> Value | None:
    reading = object_in(object_in(entry, "readings"), kind)
    units, value, low, high = (
        finite_number(reading.get(k)) for k in ("units", "value", "low", "high")
    )
    said = str(reading.get("state") or "")
    if units is None and entry.get("unit") is not None:  # a file has no infinite number
        return None if value is None else Value(None, said=f"{said} {_INFINITE}".strip())
    value = value if units is None else units
    return None if value is None else Value(value, low, high, said=said)


def attack_column(name: str) -> Column:
    """How often an attack brought the concept back by fresh seeds, and the audit's word for it.

    Where the search found nothing, there is nothing to confirm, and its own share stands here
    without counts: its pictures and those of a confirmation do not add up over seeds. The audit has
    a word for its own model alone.
    """

    def read(sources: Sources) -> Value | None:
        attack = attacked(sources, name)
        if attack is None:
            return None
        share = _brought_back(attack.line(AUDITED)) or Value(None)
        return replace(share, said=attack.state)

    def beside(sources: Sources, kind: str) -> Value | None:
        attack = attacked(sources, name)
        share = None if attack is None else _brought_back(attack.line(kind))
        if share is None or share.total is not None:
            return share
        return replace(share, said=_SEARCHED)

    return Column(
        key=f"attack-{name}",
        title=f"{name} attack",
        about="Pictures in which the attack brought the concept back; see docs/audit.md.",
        unit="share",
        better="lower",
        says=True,
        read=read,
        beside=beside,
    )


def half_column(name: str) -> Column:
    """What an attack had cost when half of the cases had come back; of several seeds the mean,
    where each came to half."""

    def beside(sources: Sources, kind: str) -> Value | None:
        attack = attacked(sources, name)
        if attack is None or not attack.curve(kind):
            return None
        return Value(attack.half(kind))

    return Column(
        key=f"half-{name}",
        title=f"{name}, cost for half",
        about="Network passes a case, or steps of tuning, by which half of the cases came back, "
        "or nothing where they never did.",
        unit="count",
        better="higher",
        every_seed=True,
        read=lambda sources: beside(sources, AUDITED),
        beside=beside,
    )


def _brought_back(line: Mapping[str, Any]) -> Value | None:
    """The share that was confirmed; where nothing was looked at again, that of the search, without
    counts."""
    confirmed = object_in(line, "confirmed")
    if confirmed:
        return Value.of_share(share_in(confirmed))
    search = Value.of_share(share_in(object_in(line, "found")))
    return None if search is None else replace(search, count=None, total=None)
