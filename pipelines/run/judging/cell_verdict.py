"""What a judge at hand says of a run's own grid: whether the concept is still recognised in it.

A few cells of plain prompts are no measurement, but a run after which all of them still show the
concept has not erased it, and its last words must not say that it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from erasure.checkpoints.wording import listed
from eval.judges.judge import Judgement, knows_nothing
from pipelines.run.comparing import Comparison
from pipelines.run.judging.cell_judge import CellJudge
from prompts.concepts.phrases import mentions
from prompts.concepts.plan import ConceptPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class CellVerdict:
    """How many cells of the grid that were asked for the concept show it."""

    concept: str
    """What the cells were asked for; of several concepts, those that some cell was."""
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
    others: int = 0
    """Cells with another prompt, of each model."""
    changed: int | None = None
    """Those of them in which the judge sees something else after the erasure than before. None
    where it cannot say so."""

    each: tuple[tuple[str, int, int], ...] = ()
    """For each of several concepts that are shown its name, the cells in which it is still
    recognised, and all cells that were asked for it."""
    not_drawn: tuple[str, ...] = ()
    """What else was erased, and no cell was asked for."""

    def said(self) -> str:
        """One sentence with its counts."""
        be = "are" if self.each else "is"
        if not self.judge or not self.cells:
            why = "no judge was at hand" if self.cells else "no picture of the grid asks for it"
            return (
                f"whether {self.concept} {be} still recognised was not judged, as {why}; "
                "`erasure evaluate` measures it"
            )
        state = (
            f"still recognised in {self.after}" if self.after else f"not recognised in {self.cells}"
        )
        said = (
            f"{self.concept} {be} {state} of {self.cells} pictures of the grid (recognised "
            f"before in {self.before}, judge: {self.judge}); not attacked"
        )
        if self.each and self.after:
            shares = [f"{after} of {cells} for {name}" for name, after, cells in self.each]
            said = f"{said}; {listed(shares)}"
        if self.rejected:
            rejected = f"{self.rejected} of them {knows_nothing(self.rejected)}"
            said = f"{said}; {rejected}: destroyed is not forgotten"
        if self.not_drawn:
            said = f"{said}; nothing is said of {', '.join(self.not_drawn)}, which it does not show"
        if not self.others or self.changed is None:
            return said
        changed = self.changed or "none"
        return (
            f"{said}; in {changed} of {self.others} pictures of other prompts the judge sees "
            "something else than before"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the counts are null where no judge looked."""
        judged = bool(self.judge and self.cells)
        return {
            "judge": self.judge or None,
            "cells": self.cells,
            "recognised_before": self.before if judged else None,
            "recognised_after": self.after if judged else None,
            "rejected_after": self.rejected if judged else None,
            "each": [
                {"concept": name, "recognised_after": after, "cells": cells}
                for name, after, cells in self.each
            ],
            "not_drawn": list(self.not_drawn),
            "others": self.others if judged else None,
            "others_changed": self.changed if judged else None,
            "sentence": self.said(),
        }


def judge_cells(comparison: Comparison, plan: ConceptPlan, judge: CellJudge | None) -> CellVerdict:
    """Let a judge, where there is one, look at the cells that were asked for the concept, and at
    what became of the others."""
    seeds = len(comparison.seeds)
    cells = range(len(comparison.before))
    asked = [n for n in cells if comparison.marked[n // seeds]]
    others = [n for n in cells if not comparison.marked[n // seeds]]
    if not asked or judge is None:
        return CellVerdict(concept=plan.concept, judge="", cells=len(asked))

    def seen(chosen: Sequence[int]) -> tuple[Sequence[Judgement], Sequence[Judgement]]:
        sides = (comparison.before, comparison.after)
        before, after = (judge.judge([images[n] for n in chosen]) for images in sides)
        return before, after

    before, after = seen(asked)
    changed = None
    if others and judge.sees is not None:
        pairs = zip(*seen(others), strict=True)
        changed = sum(judge.sees(one) != judge.sees(other) for one, other in pairs)
    names, not_drawn = _concepts(comparison, plan)
    recognised = [judge.recognises(one) for one in after]
    return CellVerdict(
        concept=listed(names),
        judge=judge.name,
        cells=len(asked),
        before=sum(map(judge.recognises, before)),
        after=sum(recognised),
        rejected=None if judge.rejects is None else sum(map(judge.rejects, after)),
        others=len(others),
        changed=changed,
        each=_each(names, plan, [comparison.prompts[n // seeds] for n in asked], recognised),
        not_drawn=not_drawn,
    )


def _each(
    names: Sequence[str], plan: ConceptPlan, prompts: Sequence[str], recognised: Sequence[bool]
) -> tuple[tuple[str, int, int], ...]:
    """The counts of every concept that is shown; none where it is one.

    Args:
        prompts: of the cells that were asked for some concept, one each.
    """
    if len(names) < 2:
        return ()
    shares = []
    for part in (one for one in plan.parts if one.concept in names):
        own = [seen for p, seen in zip(prompts, recognised, strict=True) if _asks_for(part, p)]
        shares.append((part.concept, sum(own), len(own)))
    return tuple(shares)


def _asks_for(part: ConceptPlan, prompt: str) -> bool:
    return prompt in part.replacement or any(mentions(prompt, name) for name in part.erased)


def _concepts(comparison: Comparison, plan: ConceptPlan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The concepts that marked prompts ask for, and those that none does; of a single concept it
    alone."""
    if not plan.parts:
        return (plan.concept,), ()
    pairs = zip(comparison.prompts, comparison.marked, strict=True)
    prompts = [prompt for prompt, marked in pairs if marked]
    asked = {p.concept for p in plan.parts if any(_asks_for(p, prompt) for prompt in prompts)}
    names = [part.concept for part in plan.parts]
    return tuple(n for n in names if n in asked), tuple(n for n in names if n not in asked)
