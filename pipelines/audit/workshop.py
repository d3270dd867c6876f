"""Painters and targets of the lines of an audit, made when they are needed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import torch

from erasure.attacks import Budget, Case, Concept, Target
from erasure.attacks.opening import parts_of
from erasure.errors import ConfigError
from pipelines.audit.asking import cases_of, concept_of, plan_of
from pipelines.audit.drawing import pixels_of
from pipelines.audit.lines import Line, guard_on
from pipelines.audit.material import Shown, gather
from pipelines.audit.settings import AuditRecipe
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter
from pipelines.drawing.guards import Guard
from pipelines.process.progress import Reporter
from pipelines.run.cell_judge import CellJudge, cell_judge
from pipelines.run.models import is_canvas

_SMALL: Final = 50_000_000
"""Weights of a UNet of which all lines stay in memory; of larger ones the base and one other."""


@dataclass(slots=True)
class Workshop:
    """Everything that the cells of one audit share."""

    recipe: AuditRecipe
    lines: Mapping[str, Line]
    folder: Path
    device: torch.device
    reporter: Reporter
    painters: dict[str, Painter] = field(default_factory=dict)
    concepts: dict[str, Concept] = field(default_factory=dict)
    judges: dict[str, CellJudge] = field(default_factory=dict)
    shown: dict[str, Shown] = field(default_factory=dict)
    gates: dict[str, object] = field(default_factory=dict)
    """Concept -> its quality gate, or None where there is none; see `damage.gate`."""

    def painter(self, line: str) -> Painter:
        """The painter of a line; lines of one checkpoint share it."""
        checkpoint = self.lines[line].checkpoint
        key = "audited" if self.lines[line].role == "kept" else line
        if key not in self.painters:
            if sum(weight.numel() for weight in checkpoint.network.values()) > _SMALL:
                for other in [name for name in self.painters if name != "base"]:
                    del self.painters[other]
            drawing = DrawingConfig(
                steps=self.recipe.steps,
                guidance=self.recipe.guidance,
                batch_size=self.recipe.batch_size,
            )
            size, guard = self.recipe.size, self.guard(line)
            self.painters[key] = Painter(checkpoint, drawing, self.device, size, guard=guard)
        return self.painters[key]

    def guard(self, line: str) -> Guard | None:
        """What stands before the drawings of a line."""
        one = self.lines[line]
        return guard_on(self.recipe, one.checkpoint) if one.is_guarded else None

    def guarded(self, line: str) -> dict[str, str]:
        """The guard of a line for a key of what was drawn; empty where there is none."""
        guard = self.guard(line)
        return {} if guard is None else {"guard": guard.described()}

    def concept(self, line: str) -> Concept:
        """In the words of the line's model; a wording is held out where the eraser of the audited
        model is known not to have seen it, on whichever line it is drawn."""
        one = self.lines[line]
        if one.concept not in self.concepts:
            plan = plan_of(one.checkpoint, one.concept)
            trained = plan.forget if _erased_here(self.lines["audited"], one.concept) else ()
            self.concepts[one.concept] = concept_of(self.recipe, plan, trained_on=trained)
        return self.concepts[one.concept]

    def judge(self, line: str) -> CellJudge:
        """The judge of the line's concept.

        Raises:
            ConfigError: none is at hand, or it cannot tell the concept.
        """
        one = self.lines[line]
        if one.concept not in self.judges:
            plan = plan_of(one.checkpoint, one.concept)
            judge = cell_judge(self.recipe, plan, canvas=is_canvas(one.checkpoint))
            if judge is None:
                raise ConfigError(
                    f"no judge is at hand that tells {one.concept!r} in pictures of this model; "
                    "give one by --judge, such as imagenet or the id of a CLIP with --labels"
                )
            self.judges[one.concept] = judge
        return self.judges[one.concept]

    def material(self, line: str) -> Shown:
        """Pictures of the line's concept, drawn by the base where there is one."""
        one = self.lines[line]
        if one.concept not in self.shown:
            drawer = "base" if "base" in self.lines else "audited"
            self.shown[one.concept] = gather(
                self.recipe,
                self.concept(line),
                self.painter(drawer),
                self.judge(line),
                self.folder / "material" / one.concept.replace("/", "_"),
                drawn_by="the base" if drawer == "base" else "the audited model",
                reporter=self.reporter,
            )
        return self.shown[one.concept]

    def _understood(self, line: str, shown: Shown | None) -> Concept:
        """The concept with the wordings that the base understands; all of them where nobody looked
        or there is no base."""
        concept = self.concept(line)
        if shown is None or "base" not in self.lines:
            return concept
        pairs = zip(concept.wordings, shown.understood, strict=True)
        return replace(concept, wordings=tuple(one for one, known in pairs if known))

    def cases(self, line: str) -> tuple[Case, ...]:
        """Plain prompts and seeds."""
        return cases_of(self.concept(line).prompts, self.recipe.cases)

    def target(self, line: str, *, gathered: bool = True) -> Target:
        """What an attack sees of a line.

        Args:
            gathered: whether to draw the pictures that attacks are shown; without, it has none.
        """
        painter = self.painter(line)
        default = painter.default
        assert default.width is not None
        assert default.height is not None
        size = (default.height, default.width)
        parts = parts_of(painter.parts, self.lines[line].checkpoint, size)
        shown = self.material(line) if gathered else None
        base = None
        if line != "base" and "base" in self.lines:
            base = self.target("base", gathered=False)
        target = Target(
            **parts.fields(),
            name=line,
            size=size,
            concept=self._understood(line, shown),
            cases=self.cases(line),
            budget=Budget(self.recipe.draws, self.recipe.passes),
            seed=self.recipe.seed,
            device=self.device,
            steps=self.recipe.steps,
            guidance=self.recipe.guidance,
            draw=partial(pixels_of, painter),
            base=base,
            pictures=shown.searched(parts.codec) if shown else None,
            other_pictures=shown.others(parts.codec) if shown else None,
        )
        if line == "base":
            object.__setattr__(target, "base", target)
        return target


def _erased_here(line: Line, concept: str) -> bool:
    """Whether a record of this package says that the model forgot this concept."""
    made = line.checkpoint.provenance
    return made is not None and concept in made.concepts
