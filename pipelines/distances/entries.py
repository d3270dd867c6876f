"""The entries of a result: one distance at one place, for every model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from eval.distances.units import Units
from pipelines.distances.models import Role

Name = Literal["D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8"]
TITLES: Final[Mapping[Name, str]] = {
    "D1": "labels drawn",
    "D2": "noise predictions",
    "D3": "loss on pictures of the concept",
    "D4": "symmetric likelihood",
    "D5": "kernel distance of pictures",
    "D6": "area between attack curves",
    "D7": "membership",
    "D8": "move of the weights",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What one model reads in one entry; numbers that do not exist are None."""

    value: float | None
    """In the measure's own scale."""
    units: float | None = None
    """value / unit."""
    low: float | None = None
    """Lower end of the 95 % interval of `units`."""
    high: float | None = None
    state: str | None = None
    """D3: remembers, like retrained, averse or undecided."""

    @staticmethod
    def of(units: Units, state: str | None = None) -> "Reading":
        """Take over a distance in units."""
        return Reading(units.value, units.units, units.low, units.high, state)


@dataclass(frozen=True, slots=True)
class Entry:
    """One distance at one place."""

    name: Name
    place: str
    """Pictures, texts and times that it is over."""
    unit: float | None
    """The distance of two seeds; None for a description without one."""
    readings: Mapping[Role, Reading]
    headline: bool = False
    """Whether the table shows it."""
    floored: bool = False
    """Whether the two seeds came out nearer than chance lets one see; the unit is that chance."""
    notes: tuple[str, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name and what it measures."""
        return f"{self.name} {TITLES[self.name]}"


def entry_of(
    name: Name,
    place: str,
    units: Mapping[Role, Units],
    *,
    headline: bool = False,
    states: Mapping[Role, str] | None = None,
    notes: tuple[str, ...] = (),
    details: Mapping[str, object] | None = None,
) -> Entry:
    """An entry of distances that share a unit."""
    first = next(iter(units.values()))
    return Entry(
        name=name,
        place=place,
        unit=first.unit,
        readings={role: Reading.of(one, (states or {}).get(role)) for role, one in units.items()},
        headline=headline,
        floored=first.floored,
        notes=notes,
        details=details or {},
    )
