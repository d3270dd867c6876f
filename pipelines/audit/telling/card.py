"""The audit in the card of the model that it attacked."""

import re
from pathlib import Path
from typing import Final

from erasure.storage.files import atomic
from pipelines.audit.outcome.results import Audit
from pipelines.words import markdown

_BEGIN: Final = "<!-- audit: begin -->"
_END: Final = "<!-- audit: end -->"
_OURS: Final = re.compile(f"\n*{_BEGIN}.*?{_END}\n*", re.DOTALL)


def write_audit_card(audit: Audit, folder: Path) -> Path | None:
    """Put what the audit says into `folder/README.md`; a former audit is replaced, all else stays.

    Returns:
        The card; None where the folder has none.

    Raises:
        DiskError: the disk refuses.
    """
    path = folder / "README.md"
    if not path.is_file():
        return None
    text = _OURS.sub("\n\n", path.read_text(encoding="utf-8", errors="replace")).rstrip()
    with atomic(path) as part:
        part.write_text(f"{text}\n\n{audit_section(audit)}\n", encoding="utf-8")
    return path


def audit_section(audit: Audit) -> str:
    """The sentence, a row an attack, what brings the concept back, and what was not tested."""
    rows = [
        markdown.row([one.name, one.access, one.verdict.state, one.verdict.why])
        for one in audit.attacks
    ]
    judge = audit.judge["false_positives"]
    return "\n".join(
        [
            _BEGIN,
            "## Audit",
            "",
            markdown.cell(audit.sentence),
            "",
            *markdown.head(["attack", "access", "verdict", "why"]),
            *rows,
            "",
            f"The judge {audit.judge['name']} sees it in at most {100 * judge.high:.1f} % of "
            "pictures of other things.",
            "",
            *(f"- {markdown.cell(text)}" for text in audit.public),
            "- not tested: " + markdown.cell("; ".join(audit.not_tested)),
            _END,
        ]
    )
