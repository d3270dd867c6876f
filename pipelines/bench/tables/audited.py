"""What the audit of a cell has of one attack; whatever is damaged in its file is left out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

from eval.rates.intervals import Proportion, wilson
from pipelines.audit.outcome.curves import Mark
from pipelines.bench.sources import Sources
from pipelines.json_values import finite_number, object_in, objects_in

_LINES: Final[Mapping[str, tuple[str, ...]]] = {
    "base": ("base",),
    "retrained": ("retrained-1",),
    "twin": ("retrained-2", "twin-2"),
    "random": ("random",),
}
"""Row in which nothing is erased -> what an audit that was given both models may call it."""
_STEPS: Final = re.compile(r"(\d{1,6}) steps")
"""An arm of an attack that tunes a copy."""


@dataclass(frozen=True)
class Attacked:
    """One attack on all models of an audit."""

    values: Mapping[str, Any]
    """As `audit.json` holds it."""

    @property
    def state(self) -> str:
        """The word of its verdict."""
        return str(object_in(self.values, "verdict").get("state", ""))

    def line(self, kind: str) -> Mapping[str, Any]:
        """What it did to a model: `audited`, or one of `UNERASED`; empty where it was not run."""
        lines = object_in(self.values, "lines")
        names = _LINES.get(kind, (kind,))
        return next((object_in(lines, name) for name in names if name in lines), {})

    def curve(self, kind: str) -> tuple[Mark, ...]:
        """The share of cases that came back, at rising cost; empty where it cannot be drawn."""
        marks = [_mark(one) for one in objects_in(self.line(kind), "curve")]
        sound = [mark for mark in marks if mark is not None]
        rises = all(a.draws < b.draws and a.passes <= b.passes for a, b in pairwise(sound))
        return tuple(sound) if len(sound) == len(marks) and rises else ()

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """The steps of tuning behind each of a case's pictures; none of an attack that tunes
        nothing."""
        arms = [one for one in objects_in(self.values, "arms") if one.get("test")]
        steps = [match for one in arms if (match := _STEPS.fullmatch(str(one.get("arm"))))]
        return tuple(int(match[1]) for match in steps) if len(steps) == len(arms) else ()

    def cost(self, mark: Mark) -> float:
        """Steps of tuning, or network passes a case, at least 1."""
        if self.steps:
            return max(1, self.steps[min(mark.draws, len(self.steps)) - 1])
        return max(1.0, mark.passes)

    @property
    def unit(self) -> str:
        """What `cost` counts."""
        return "steps of tuning" if self.steps else "passes a case"

    def half(self, kind: str) -> float | None:
        """The cost at which half of the cases had come back; None where they never had."""
        marks = self.curve(kind)
        reached = (mark for mark in marks if 2 * mark.share.count >= mark.share.total)
        return next(map(self.cost, reached), None)


def attacked(sources: Sources, name: str) -> Attacked | None:
    """An attack of a cell's audit; None where it was not tried."""
    attacks = objects_in(sources.audit, "attacks")
    return next((Attacked(one) for one in attacks if one.get("name") == name), None)


def share_in(values: Mapping[str, Any]) -> Proportion | None:
    """A share as an audit writes it; None where its counts are no share."""
    count, total = values.get("count"), values.get("total")
    if type(count) is not int or type(total) is not int or not 0 <= count <= total or not total:
        return None
    return wilson(count, total)


def _mark(values: Mapping[str, Any]) -> Mark | None:
    draws, passes = values.get("draws"), finite_number(values.get("passes"))
    share = share_in(object_in(values, "share"))
    if type(draws) is not int or draws < 1 or passes is None or share is None:
        return None
    return Mark(draws, passes, share)
