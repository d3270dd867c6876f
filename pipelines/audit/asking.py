"""The concept of an audit in words: plain prompts, other wordings, pairs, and other things."""

import os
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Final

from erasure.attacks import Case, Concept, Wording
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import ConfigError
from pipelines.audit.settings import AuditRecipe
from pipelines.run.models import is_canvas
from prompts.canvas import OBJECTS, STYLES, canvas_prompt, with_article
from prompts.concepts.concepts import plan_concept
from prompts.concepts.phrases import bare, mentions
from prompts.concepts.plan import ConceptPlan
from prompts.wordings.known import Phrase, read_phrases
from prompts.wordings.wordings import wordings

_PLAIN: Final = 6
"""Plain prompts of a concept that is not of the canvas."""
_OTHERS: Final = 240
"""Prompts of other things."""


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
        ConfigError: the concept is a label, and the model reads no text, which attacks write.
    """
    if plan.kind == "label":
        raise ConfigError(
            f"an audit asks for {plan.concept!r} in other words and searches for new ones, and "
            "this model is told a class and reads none; measure it with `erasure evaluate`, or "
            "audit a model that reads text"
        )
    plain = plain_prompts(plan)
    style = plan.kind == "style"
    others = other_prompts(plan)
    phrases: list[Phrase] = [
        phrase
        for name in plan.erased
        for phrase in wordings(name, "style" if style else "thing", _things(plan))
    ]
    for table in recipe.wordings:
        phrases += read_phrases(Path(os.path.expanduser(table)))
    known = set(trained_on)
    unlike = {phrase.prompt: phrase for phrase in phrases if phrase.prompt not in plain}
    pairs = [(p, plan.replacement[p][0]) for p in plan.forget[:40] if plan.replacement.get(p)]
    return Concept(
        name=plan.concept,
        prompts=plain,
        wordings=tuple(
            Wording(one.kind, one.prompt, one.prompt not in known if known else None)
            for one in unlike.values()
        ),
        pairs=tuple(pairs),
        replacement=pairs[0][1] if pairs else "",
        others=others,
    )


def plain_prompts(plan: ConceptPlan) -> tuple[str, ...]:
    """On the canvas those of its evaluation, a prompt a style or object; else the first of the
    plan."""
    if plan.kind == "object":
        return tuple(canvas_prompt(obj, style) for obj in plan.erased for style in STYLES)
    if plan.kind == "style" and set(plan.erased) <= set(STYLES):
        return tuple(canvas_prompt(obj, style) for style in plan.erased for obj in OBJECTS)
    return plan.forget[:_PLAIN]


def cases_of(prompts: Sequence[str], count: int) -> tuple[Case, ...]:
    """The prompts in turn, all by seed 0, then by seed 1: as an evaluation draws them."""
    turns = islice(cycle(prompts), count)
    return tuple(
        Case(f"case-{number:03d}", prompt, number // len(prompts))
        for number, prompt in enumerate(turns)
    )


def other_prompts(plan: ConceptPlan) -> tuple[str, ...]:
    """Prompts of what is retained, spread over the whole list, none of which names the concept."""
    clean = [p for p in plan.retain if not any(mentions(p, name) for name in plan.erased)]
    if not clean:
        clean = [stand_in for stand_ins in plan.replacement.values() for stand_in in stand_ins]
        clean = list(dict.fromkeys(p for p in clean if p))
    stride = max(1, len(clean) // _OTHERS)
    return tuple(clean[::stride][:_OTHERS])


def _things(plan: ConceptPlan) -> list[str]:
    """Things to stand beside the concept, that the model draws."""
    if plan.kind == "object":
        return [with_article(o) for o in OBJECTS if bare(o) not in plan.erased][:2]
    return []
