"""What a judge at hand says of a run's own grid: whether the concept is still recognised in it.

A few cells of plain prompts are no measurement, but a run after which all of them still show the
concept has not erased it, and its last words must not say that it has.
"""

from dataclasses import dataclass
from typing import Any

from eval.judges.judge import knows_nothing
from pipelines.run.cell_judge import CellJudge
from pipelines.run.comparing import Comparison
from prompts.concepts.plan import ConceptPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class CellVerdict:
    """How many cells of the grid that were asked for the concept show it."""

    concept: str
    judge: str
    """Name of the judge that looked; empty where none was at hand."""
    cells: int = 0
    """Cells with a prompt of the concept, of each model."""
    before: int = 0
    """Those of them in which the judge recognises the concept, before the erasure."""
    after: int = 0
    rejected: int | None = None
    """Cells after the erasure in which the judge sees nothing that it knows: they are not
    recognised, but destroyed rather than forgotten. None where it cannot say so."""

    def said(self) -> str:
        """One sentence with its counts."""
        if not self.judge or not self.cells:
            why = "no judge was at hand" if self.cells else "no picture of the grid asks for it"
            return (
                f"whether {self.concept} is still recognised was not judged, as {why}; "
                "`erasure evaluate` measures it"
            )
        state = (
            f"still recognised in {self.after}" if self.after else f"not recognised in {self.cells}"
        )
        said = (
            f"{self.concept} is {state} of {self.cells} pictures of the grid (before in "
            f"{self.before}, judge: {self.judge}); not attacked"
        )
        if not self.rejected:
            return said
        rejected = f"{self.rejected} of them {knows_nothing(self.rejected)}"
        return f"{said}; {rejected}: destroyed is not forgotten"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the counts are null where no judge looked."""
        judged = bool(self.judge and self.cells)
        return {
            "judge": self.judge or None,
            "cells": self.cells,
            "recognised_before": self.before if judged else None,
            "recognised_after": self.after if judged else None,
            "rejected_after": self.rejected if judged else None,
            "sentence": self.said(),
        }


def judge_cells(comparison: Comparison, plan: ConceptPlan, judge: CellJudge | None) -> CellVerdict:
    """Let a judge, where there is one, look at the cells that were asked for the concept."""
    seeds = len(comparison.seeds)
    asked = [n for n in range(len(comparison.before)) if comparison.marked[n // seeds]]
    if not asked or judge is None:
        return CellVerdict(concept=plan.concept, judge="", cells=len(asked))
    before, after = (
        judge.judge([images[n] for n in asked]) for images in (comparison.before, comparison.after)
    )
    return CellVerdict(
        concept=plan.concept,
        judge=judge.name,
        cells=len(asked),
        before=sum(map(judge.recognises, before)),
        after=sum(map(judge.recognises, after)),
        rejected=None if judge.rejects is None else sum(map(judge.rejects, after)),
    )
