"""The losses behind an audit's traces as rows of its page, by pictures, text, model and time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from erasure.attacks.diagnostics.traces import TURNED

_GROUPS: Final = {
    "concept": "the concept",
    TURNED: "the concept upside down",
    "controls": "other things",
}


@dataclass(frozen=True, slots=True)
class LossRow:
    """One model on pictures of one group under one text."""

    group: str
    """What the pictures show; empty where the row above says it."""
    text: str
    """What the model is told; empty where the row above says it."""
    line: str
    losses: Sequence[float]
    """One a part of the times."""


@dataclass(frozen=True, slots=True)
class LossTable:
    """All losses of an audit."""

    times: Sequence[tuple[float, float]]
    """Where each part of the times begins and ends."""
    rows: Sequence[LossRow]
    notes: Sequence[str]
    """What to know of a text, each sentence once."""


def loss_table(traces: Mapping[str, Mapping[str, Any]]) -> LossTable | None:
    """The table of what was measured; None where nothing was.

    Args:
        traces: line -> its trace, as `audit.json` has it.
    """
    measured = {line: one for line, one in traces.items() if one.get("losses")}
    if not measured:
        return None
    first = next(iter(measured.values()))
    rows: list[LossRow] = []
    for group in _GROUPS:
        texts = dict.fromkeys(t for one in measured.values() for t in one["losses"].get(group, {}))
        for text in texts:
            said = {
                line: one["losses"][group][text]
                for line, one in measured.items()
                if text in one["losses"].get(group, {})
            }
            for line, losses in said.items():
                new = line == next(iter(said))
                named = new and text == next(iter(texts))
                shown = _GROUPS[group] if named else ""
                rows.append(LossRow(shown, text if new else "", line, losses))
    notes = {
        f"{text}: {note}": None
        for one in measured.values()
        for text, note in one.get("notes", {}).items()
    }
    return LossTable(list(pairwise(first["times"])), rows, list(notes))
