"""What an audit asks a model for: the concept, other wordings, other things, and things beside."""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Final, Protocol

from erasure.attacks import Case, Concept, Wording
from erasure.checkpoints.checkpoint import Checkpoint
from pipelines.audit.asking.by_class import ByClass
from pipelines.audit.asking.in_words import InWords
from pipelines.audit.settings import AuditRecipe
from pipelines.run.models import is_canvas
from prompts.compositions import Composition
from prompts.concepts.concepts import plan_concept
from prompts.concepts.plan import ConceptPlan
from prompts.wordings.known import Phrase

_OTHERS: Final = 240
"""Prompts of other things."""


class Asking(Protocol):
    """The prompts of one plan, as its model is told them; each is what the painter takes."""

    def plain(self) -> tuple[str, ...]:
        """Ask for the concept; at least one prompt."""
        ...

    def phrases(self, tables: Sequence[str]) -> Sequence[Phrase]:
        """Ask for it otherwise, also by the user's tables of prompts.

        Raises:
            PromptError: a table cannot be read.
            ConfigError: the model reads no prompts that a table could hold.
        """
        ...

    def others(self) -> Sequence[str]:
        """Ask for other things that are retained, none of which is the concept."""
        ...

    def instead(self, label: str) -> Sequence[str]:
        """Ask for what a judge calls so in the place of the concept; empty where it cannot be."""
        ...

    def beside(self, labels: Sequence[str]) -> Sequence[Composition]:
        """Ask for the concept and another thing in one picture; empty where it cannot be."""
        ...

    @property
    def no_beside(self) -> str:
        """Why nothing can be asked for beside it, as a part of a sentence."""
        ...


def asking_of(plan: ConceptPlan) -> Asking:
    """In words, or by class where the plan is of labels."""
    return ByClass(plan) if plan.kind == "label" else InWords(plan)


def plan_of(checkpoint: Checkpoint, concept: str) -> ConceptPlan:
    """The plan of an erasure of the concept, whose prompts and labels an audit asks for.

    Raises:
        PromptError: the model does not know the concept.
        ConfigError: the model is told classes, and the concept is none of them.
    """
    if (classes := checkpoint.classes) is not None:
        return plan_concept(classes.name(concept), family="general", labels=classes.names)
    return plan_concept(concept, family="canvas" if is_canvas(checkpoint) else "general")


def concept_of(recipe: AuditRecipe, plan: ConceptPlan, *, trained_on: Sequence[str]) -> Concept:
    """All that is asked about a concept.

    Args:
        trained_on: prompts that the eraser is known to have forgotten; empty where nobody knows.

    Raises:
        PromptError: a table of wordings cannot be read.
        ConfigError: as `Asking.phrases`.
    """
    asking, known = asking_of(plan), set(trained_on)
    plain = asking.plain()
    unlike = {p.prompt: p for p in asking.phrases(recipe.wordings) if p.prompt not in plain}
    pairs = [(p, plan.replacement[p][0]) for p in plan.forget[:40] if plan.replacement.get(p)]
    return Concept(
        name=plan.concept,
        prompts=plain,
        names=plan.erased,
        wordings=tuple(
            Wording(one.kind, one.prompt, one.prompt not in known if known else None)
            for one in unlike.values()
        ),
        pairs=tuple(pairs),
        replacement=pairs[0][1] if pairs else "",
        others=other_prompts(plan),
    )


def cases_of(prompts: Sequence[str], count: int) -> tuple[Case, ...]:
    """The prompts in turn, all by seed 0, then by seed 1: as an evaluation draws them."""
    turns = islice(cycle(prompts), count)
    return tuple(
        Case(f"case-{number:03d}", prompt, number // len(prompts))
        for number, prompt in enumerate(turns)
    )


def other_prompts(plan: ConceptPlan) -> tuple[str, ...]:
    """Prompts of other things, spread over the whole list."""
    listed = asking_of(plan).others()
    stride = max(1, len(listed) // _OTHERS)
    return tuple(listed[::stride][:_OTHERS])
