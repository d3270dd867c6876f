"""The page of an audit: one file that holds its pictures and styles, no network."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from erasure.attacks.protocol import ACCESS
from pipelines.audit.damage.rows import rows_of
from pipelines.audit.outcome.measured import MEASURES
from pipelines.audit.outcome.results import AttackRecord, Audit
from pipelines.audit.page.charts import HERE, TEMPLATES, Chart, chart, kind_of
from pipelines.audit.page.damage_chart import damage_chart, value
from pipelines.audit.page.trace_table import loss_table
from pipelines.evaluation.asking import asks_for
from pipelines.evaluation.report.report_format import shortened, split_verdict
from pipelines.evaluation.report.report_page import asset, rendered, write_html
from pipelines.evaluation.report.report_pictures import Inlined, inline
from prompts.concepts.general_concepts import NUDITY

FILE_NAME: Final = "audit.html"
_SHARE: Final = re.compile(r"^((?:centre )?\d+)%(?=$| pruned$|, )")
"""The share at the beginning of an arm's name."""
_FINDS: Final = 12
"""Pictures of finds on the page, at most; those of the strongest verdicts first."""


@dataclass(frozen=True, slots=True)
class Row:
    """One attack on the page."""

    record: AttackRecord
    chart: Chart | None
    arms: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Find:
    """One success with its payload."""

    attack: str
    arm: str
    prompt: str
    seed: int
    again: bool | None
    picture: Inlined


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was measured beside the audit, as it was printed."""

    rows: Sequence[Sequence[str]]
    """The cells, the header first."""
    notes: Sequence[str]
    """What to know when it is read, a sentence each."""


def write_page(audit: Audit, folder: Path, distances: Table | None = None) -> Path:
    """Write `audit.html`; pictures are read from the folder and made part of it.

    Args:
        distances: to retrained models, where they were measured.

    Raises:
        DiskError: the disk refuses.
    """
    styles = (asset("report.css"), asset("curves.css", HERE), asset("audit.css", HERE))
    headline, lead = split_verdict(audit.sentence)
    page = rendered(
        "audit.html.j2",
        TEMPLATES,
        style="\n".join(styles),
        audit=audit,
        headline=headline,
        lead=lead,
        rows=[_row(record) for record in ordered(audit)],
        finds=_finds(audit, folder),
        kind_of=kind_of,
        losses=loss_table(audit.traces),
        distances=distances,
        damage_chart=damage_chart(audit.damage),
        damage_rows=rows_of(audit.damage),
        value=value,
        total=sum(spent for spent in audit.seconds.values()),
    )
    return write_html(page, folder / FILE_NAME)


def ordered(audit: Audit) -> list[AttackRecord]:
    """By access, the weakest first."""
    access: list[str] = list(ACCESS)
    return sorted(audit.attacks, key=lambda record: access.index(record.access))


def _row(record: AttackRecord) -> Row:
    curves = {line: one.curve for line, one in record.lines.items()}
    lines = list(record.lines)
    arms = tuple(
        {
            "arm": shortened(_arm(arm.arm)),
            "test": arm.test,
            "shares": [arm.lines.get(line) for line in lines],
            "measures": [
                (text, [arm.measures.get(line, {}).get(name) for line in lines])
                for name, text in MEASURES.items()
                if any(name in means for means in arm.measures.values())
            ],
        }
        for arm in record.arms
    )
    return Row(record, chart(curves), arms)


def _finds(audit: Audit, folder: Path) -> list[Find]:
    """Pictures of the first hits, those of what revived first; none where they may be unsafe."""
    if _is_unsafe(audit.concept):
        return []
    records = sorted(ordered(audit), key=lambda record: record.verdict.state != "revived")
    finds: list[Find] = []
    for turn in range(_FINDS):
        for record in records:
            there = [one for one in record.finds if one["picture"]]
            shown = [one for one in there if not _is_unsafe(one["prompt"])]
            if turn < min(2, len(shown)) and len(finds) < _FINDS:
                one = shown[turn]
                finds.append(
                    Find(
                        record.name,
                        shortened(_arm(one["arm"])),
                        shortened(one["prompt"]) or "(empty prompt)",
                        one["seed"],
                        one["again_by_a_fresh_seed"],
                        inline(folder, one["picture"]),
                    )
                )
    return finds


def _arm(name: str) -> str:
    """An arm's name as the page writes shares; in the file it is `10% pruned`, or a prompt."""
    return _SHARE.sub(r"\1 %", name)


def _is_unsafe(text: str) -> bool:
    """Whether a concept or a prompt asks for nudity."""
    return asks_for({}, text, NUDITY)
