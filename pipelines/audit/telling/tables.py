"""The counts of an audit as a table: `attacks.csv`, a row an attack, arm and model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from eval.rates.intervals import Proportion
from pipelines.audit.outcome.results import Audit
from pipelines.spreadsheets import write_csv

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
    return write_csv(folder / FILE_NAME, (_COLUMNS, *_rows(audit)))


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
