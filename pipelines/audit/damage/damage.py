"""What else was lost: draw, look, count, for the audited model against its base."""

from collections.abc import Mapping
from typing import Any, Final

from erasure.storage.tables import to_table
from pipelines.audit.damage.counting import Drawn, counted
from pipelines.audit.damage.levels import level_name
from pipelines.audit.damage.looks import Looks, looks_at, measure_of
from pipelines.audit.damage.pairs import paired
from pipelines.audit.damage.questions import LINES, questions_of
from pipelines.audit.workshop import Workshop

_NONE: Final = "not asked for"
_NO_BASE: Final = "no base was given, so nothing shows what the model drew before"


def damage_of(shop: Workshop) -> dict[str, Any]:
    """All measures as plain values, or the `reason` why there are none.

    Pictures are drawn in batches, part by part; a part that is on the disk is read.

    Raises:
        OutOfMemoryError: drawing needs less.
        DiskError: the disk refuses.
    """
    questions = questions_of(shop)
    level = level_name(shop.recipe)
    if questions is None:
        return {"reason": _NONE if level == "none" else _NO_BASE}
    measure = measure_of(shop.judge("audited").judge)
    looks: dict[str, dict[str, Looks]] = {
        line: {
            part: looks_at(shop, line, part, asks, measure)
            for part, asks in questions.of(line).items()
        }
        for line in LINES
    }
    drawn = Drawn(
        pairs={
            part: paired(questions.parts[part], looks["base"][part], seen)
            for part, seen in looks["audited"].items()
        },
        again=looks["base"].get("again"),
        without=(
            (questions.parts["without"], looks["base"]["without"])
            if "without" in looks["base"]
            else None
        ),
        vocabulary=questions.vocabulary,
        ranking=questions.ranking,
        left=questions.left,
        reason=measure.reason,
    )
    values: dict[str, Any] = to_table(
        {
            "level": level,
            "pictures": {line: _count(parts, usable=True) for line, parts in looks.items()},
            "unusable": {line: _count(parts, usable=False) for line, parts in looks.items()},
            "features": None if measure.extractor is None else measure.extractor.name,
            **counted(drawn),
        }
    )
    return values


def unmeasured(damage: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence for each kind of damage that nobody measured."""
    reason = damage.get("reason")
    left = [reason] if reason else damage.get("not_measured", [])
    return tuple(f"what else was lost: {sentence}" for sentence in left)


def _count(parts: dict[str, Looks], *, usable: bool) -> int:
    return sum((one is not None) == usable for seen in parts.values() for one in seen.judgements)
