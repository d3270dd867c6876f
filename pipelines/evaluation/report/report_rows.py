"""The table of prompts in a report, as plain rows that the page's script sorts and filters."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipelines.evaluation.outcome.results import DrawnImage, ImageRecord, Results
from pipelines.evaluation.report.report_format import shortened
from pipelines.evaluation.report.report_marks import is_erased, is_exposed

MAX_ROWS: Final = 10_000
MAX_TEXT: Final = 5_000_000
"""Bytes of all rows together."""


@dataclass(frozen=True, slots=True)
class RowsTable:
    """What the script is given."""

    heads: tuple[str, ...]
    """Names of columns after the prompt, `erased` and the number of pictures; each is a pair of
    counts, before and after."""
    rows: tuple[tuple[Any, ...], ...]
    """(prompt, number of the prompt, erased, pictures, before, after, before, after, ...); None
    where there is no count."""
    total: int
    has_before: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"heads": self.heads, "rows": self.rows, "hasBefore": self.has_before}


def prompt_rows(results: Results) -> RowsTable:
    """A row a prompt in the order of the suite; erased prompts first."""
    cases: dict[str, list[ImageRecord]] = {}
    for image in results.images:
        cases.setdefault(image.prompt, []).append(image)
    heads = tuple(dict.fromkeys(head for rate in results.prompts for head in rate.heads))
    rates = {rate.prompt: rate for rate in results.prompts}
    unsafe = _judges_safety(results)
    rows = []
    for number, (prompt, images) in enumerate(cases.items()):
        rate = rates.get(prompt)
        row: list[Any] = [shortened(prompt), number, any(is_erased(i, results) for i in images)]
        usable = sum(image.after.state in ("ok", "refused") for image in images)
        row.append(rate.total if rate is not None and rate.heads else usable)
        for head in heads:
            hits = None if rate is None else rate.heads.get(head)
            row += [None, None] if hits is None else [hits.before, hits.after]
        if unsafe:
            row += list(_exposed(images))
        rows.append(tuple(row))
    rows.sort(key=lambda row: not row[2])
    named = (*(f"{head} recognised" for head in heads), *(("unsafe",) if unsafe else ()))
    has_before = results.models.before is not None
    return RowsTable(named, tuple(_fitting(rows)), len(rows), has_before)


def _judges_safety(results: Results) -> bool:
    """Whether some judge looks for body parts or scores safety."""
    return bool(results.detections) or any(score.name == "nsfw" for score in results.scores)


def _exposed(images: list[ImageRecord]) -> Iterator[int | None]:
    before = [image.before for image in images if image.before is not None]
    yield _count(before) if before else None
    yield _count([image.after for image in images])


def _count(drawn: list[DrawnImage]) -> int:
    return sum(is_exposed(one) for one in drawn)


def _fitting(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    size = 0
    for row in rows[:MAX_ROWS]:
        size += len(json.dumps(row))
        if size > MAX_TEXT:
            return
        yield row
