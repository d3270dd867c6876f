"""The counts of an audit as a table: `attacks.csv`, a row an attack, arm and model."""

import csv
from pathlib import Path
from typing import Final

from erasure.storage.files import atomic
from eval.rates.intervals import Proportion
from pipelines.audit.results import Audit

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
        for record in audit.attacks:
            first = (record.name, record.access, record.verdict.state)
            for arm in record.arms:
                for line, share in arm.lines.items():
                    writer.writerow((*first, arm.arm, arm.test, line, *_numbers(share)))
            for line, result in record.lines.items():
                if result.confirmed is not None:
                    writer.writerow((*first, CONFIRMED, True, line, *_numbers(result.confirmed)))
                if result.gated is not None:
                    writer.writerow((*first, GATED, True, line, *_numbers(result.gated)))
    return path


def _numbers(share: Proportion) -> tuple[object, ...]:
    return (
        share.count,
        share.total,
        round(share.share, 6),
        round(share.low, 6),
        round(share.high, 6),
    )
