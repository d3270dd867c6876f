"""Asking a model that reads text."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prompts.canvas import OBJECTS, STYLES, canvas_prompt, with_article
from prompts.compositions import Composition, companions
from prompts.concepts.phrases import bare, mentions, noun_phrase, swap
from prompts.concepts.plan import ConceptPlan
from prompts.wordings.known import Phrase, read_phrases
from prompts.wordings.wordings import wordings

_PLAIN: Final = 6
"""Plain prompts of a concept that is not of the canvas."""


@dataclass(frozen=True, slots=True)
class InWords:
    """The prompts of a plan, and those made of them."""

    plan: ConceptPlan

    def plain(self) -> tuple[str, ...]:
        """On the canvas those of its evaluation, a prompt a style or object; else the first of the
        plan."""
        plan = self.plan
        if plan.kind == "object":
            return tuple(canvas_prompt(obj, style) for obj in plan.erased for style in STYLES)
        if plan.kind == "style" and set(plan.erased) <= set(STYLES):
            return tuple(canvas_prompt(obj, style) for style in plan.erased for obj in OBJECTS)
        return plan.forget[:_PLAIN]

    def phrases(self, tables: Sequence[str]) -> list[Phrase]:
        """The wordings of every name of what is erased, and those of tables.

        Raises:
            PromptError: a table cannot be read.
        """
        style, things = self.plan.kind == "style", self._things()
        made: list[Phrase] = []
        for name in self.plan.erased:
            made += wordings(name, "style" if style else "thing", things)
        for table in tables:
            made += read_phrases(Path(os.path.expanduser(table)))
        return made

    def others(self) -> list[str]:
        """What is retained, but for prompts that name the concept."""
        plan = self.plan
        clean = [p for p in plan.retain if not any(mentions(p, name) for name in plan.erased)]
        if clean:
            return clean
        stand_ins = [one for several in plan.replacement.values() for one in several]
        return [prompt for prompt in dict.fromkeys(stand_ins) if prompt]

    def instead(self, label: str) -> list[str]:
        """The plain prompts with the label in the concept's place."""
        return in_place(self.plain(), (*self.plan.erased, self.plan.concept), label)

    def beside(self, labels: Sequence[str]) -> tuple[Composition, ...]:
        """The concept and each label, in both orders; none of a style."""
        if self.plan.kind == "style" or not labels:
            return ()
        return companions(self.plan.erased[0], labels)

    @property
    def no_beside(self) -> str:
        """Why there is none: a style, or a judge that names nothing else."""
        return "nothing of it could be asked of this concept"

    def _things(self) -> list[str]:
        """Things to stand beside the concept, that the model draws."""
        plan = self.plan
        if plan.kind == "object":
            return [with_article(o) for o in OBJECTS if bare(o) not in plan.erased][:2]
        return []


def in_place(prompts: Sequence[str], names: Sequence[str], label: str) -> list[str]:
    """Prompts of the concept with a label in its place; a plain one where none names it.

    Args:
        names: what the concept is called in them.
    """
    noun = label.split(",")[0].strip()  # `tench, Tinca tinca` of ImageNet
    put = (
        next((made for name in names if (made := swap(prompt, name, noun)) is not None), None)
        for prompt in prompts
    )
    replaced = list(dict.fromkeys(prompt for prompt in put if prompt is not None))
    return replaced or [f"an image of {noun_phrase(noun)}"]
