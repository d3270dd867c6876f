"""What the audit of a cell has of one attack; whatever is damaged in its file is left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipelines.bench.sources import Sources
from pipelines.json_values import object_in, objects_in

_LINES: Final[Mapping[str, tuple[str, ...]]] = {
    "base": ("base",),
    "retrained": ("retrained-1",),
    "twin": ("retrained-2", "twin-2"),
    "random": ("random",),
}
"""Row in which nothing is erased -> what an audit that was given both models may call it."""


@dataclass(frozen=True, slots=True)
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


def attacked(sources: Sources, name: str) -> Attacked | None:
    """An attack of a cell's audit; None where it was not tried."""
    attacks = objects_in(sources.audit, "attacks")
    return next((Attacked(one) for one in attacks if one.get("name") == name), None)
