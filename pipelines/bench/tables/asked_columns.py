"""Columns of the parts of a cell that are asked for by name: distances and attacks."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from eval.rates.intervals import wilson
from pipelines.audit.outcome.results import FILE_NAME as AUDIT_FILE
from pipelines.bench.extras import AUDIT, DISTANCE
from pipelines.bench.sources import Sources
from pipelines.bench.tables.column import Column, Value
from pipelines.distances.entries import TITLES, Name
from pipelines.distances.result import FILE_NAME as DISTANCE_FILE
from pipelines.json_values import finite_number, object_in, objects_in

_SIGNED: Final = "D3"
"""The distance that says by its sign on which side of the retrained model it lies."""
_INFINITE: Final = "infinite"


def distance_column(name: Name) -> Column:
    """The largest of a distance's headlines, in units of two retrained seeds; D8 as is.

    Of D3 it is the one that is farthest from 0: a model that remembers under one text and is like
    a retrained one under the other remembers.
    """

    def read(sources: Sources) -> Value | None:
        entries = objects_in(sources.json(DISTANCE, DISTANCE_FILE), "entries")
        own = [e for e in entries if e.get("name") == name and e.get("headline")]
        values = [v for e in own if (v := _reading(e)) is not None]
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
        read=read,
    )


def _reading(entry: Mapping[str, Any]) -> Value | None:
    reading = object_in(object_in(entry, "readings"), "audited")
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
    without counts: its pictures and those of a confirmation do not add up over seeds.
    """

    def read(sources: Sources) -> Value | None:
        attacks = objects_in(sources.json(AUDIT, AUDIT_FILE), "attacks")
        own = next((one for one in attacks if one.get("name") == name), None)
        if own is None:
            return None
        state = str(object_in(own, "verdict").get("state", ""))
        line = object_in(object_in(own, "lines"), "audited")
        share = _share(object_in(line, "confirmed"))
        if share is None and not object_in(line, "confirmed"):
            search = _share(object_in(line, "found"))
            share = None if search is None else replace(search, count=None, total=None)
        return Value(None, said=state) if share is None else replace(share, said=state)

    return Column(
        key=f"attack-{name}",
        title=f"{name} attack",
        about="Pictures in which the attack brought the concept back; see docs/audit.md.",
        unit="share",
        better="lower",
        says=True,
        read=read,
    )


def _share(values: Mapping[str, Any]) -> Value | None:
    """A share as an audit writes it; None where its counts are no share."""
    count, total = values.get("count"), values.get("total")
    if type(count) is not int or type(total) is not int or not 0 <= count <= total or not total:
        return None
    return Value.of_share(wilson(count, total))
