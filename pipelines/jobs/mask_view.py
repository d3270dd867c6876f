"""A mask as `erasure mask` shows it: for people and machines."""

from dataclasses import asdict, dataclass
from typing import Any

from erasure.masks.mask_report import MaskReport, mask_report
from erasure.masks.masks import SaliencyMask
from erasure.masks.overlap import Shared, overlap


@dataclass(frozen=True, slots=True)
class MaskView:
    """What a mask selects, and what it shares with another."""

    mask: SaliencyMask
    report: MaskReport
    shared: Shared | None
    """None where there is no other mask."""

    @classmethod
    def of(cls, mask: SaliencyMask, other: SaliencyMask | None) -> "MaskView":
        """Count what `mask` selects.

        Raises:
            MaskError: the other mask is of another base or component.
        """
        shared = None if other is None else overlap(mask, other).whole
        return cls(mask, mask_report(mask), shared)

    def for_people(self) -> dict[str, Any]:
        """A value a line, and a line for each block and each kind of layer."""
        info, report = self.mask.info, self.report
        result: dict[str, Any] = {
            "kind": info.kind,
            "component": info.component,
            "concept": info.concept,
            "scope": info.scope,
            "selected": f"{report.whole.selected:,} of {report.whole.total:,}",
            "density": round(report.whole.density, 6),
            "base": info.base,
        }
        # Blocks and kinds of layer share names, such as `in` and `out`.
        for table_of, rows in (("block", report.blocks), ("layers", report.kinds)):
            result |= {
                f"{table_of} {row.part}": f"{row.density:.4f}  ({row.selected:,} of {row.total:,})"
                for row in rows
            }
        if self.shared is not None:
            result["selected by both"] = f"{self.shared.intersection:,}"
            result["IoU"] = f"{self.shared.iou:.4f}"
            result["share of this in the other"] = f"{self.shared.share_of_a_in_b:.4f}"
        return result

    def for_machines(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        report = self.report
        result: dict[str, Any] = {
            **asdict(self.mask.info),
            "density": report.whole.density,
            "selected": report.whole.selected,
            "total": report.whole.total,
        }
        for name, rows in (("blocks", report.blocks), ("kinds", report.kinds)):
            result[name] = [
                {"part": r.part, "density": r.density, "selected": r.selected, "total": r.total}
                for r in rows
            ]
        if self.shared is not None:
            result["overlap"] = {
                "both": self.shared.intersection,
                "iou": self.shared.iou,
                "share_of_this_in_other": self.shared.share_of_a_in_b,
            }
        return result
