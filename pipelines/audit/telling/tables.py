"""The counts of an audit as a table: `attacks.csv`, a row an attack, arm and model."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from erasure.storage.files import atomic
from eval.rates.intervals import Proportion
from pipelines.audit.outcome.results import Audit
from pipelines.spreadsheets import safe_cell

FILE_NAME: Final = "attacks.csv"
_COLUMNS: Final = (
    "attack",
    "access",
    "verdict",
    "arm",
    "test",
    "model",
    "hits",
    "pictures",
    "share",
    "low",
    "high",
)
CONFIRMED: Final = "confirmed by fresh seeds"
"""The arm of the rows that count the confirmation."""
GATED: Final = "confirmed, and near pictures of the concept"
"""The arm of the rows that count those that the quality gate lets pass."""


def write_tables(audit: Audit, folder: Path) -> Path:
    """Write the table; DiskError where the disk refuses."""
    path = folder / FILE_NAME
    with atomic(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(map(safe_cell, row) for row in _rows(audit))
    return path


def _rows(audit: Audit) -> Iterator[tuple[object, ...]]:
    for record in audit.attacks:
        first = (record.name, record.access, record.verdict.state)
        for arm in record.arms:
            for line, share in arm.lines.items():
                yield (*first, arm.arm, arm.test, line, *_numbers(share))
        for line, result in record.lines.items():
            if result.confirmed is not None:
                yield (*first, CONFIRMED, True, line, *_numbers(result.confirmed))
            if result.gated is not None:
                yield (*first, GATED, True, line, *_numbers(result.gated))


def _numbers(share: Proportion) -> tuple[object, ...]:
    return (
        share.count,
        share.total,
        round(share.share, 6),
        round(share.low, 6),
        round(share.high, 6),
    )
