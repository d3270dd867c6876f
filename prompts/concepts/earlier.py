"""What a model forgot before, where another that still draws it answers while it is trained."""

from collections.abc import Sequence
from dataclasses import replace

from prompts.concepts.plan import ConceptPlan
from prompts.concepts.together import COMPLETE, stand_ins_of
from prompts.errors import PromptError


def without_earlier(plan: ConceptPlan, *, listed: bool = False) -> ConceptPlan:
    """The plan in which nothing that was forgotten earlier is retained or stands in.

    A model that never forgot it answers to what is retained and to what stands in, so it would be
    learned again. A stand-in gives way to what stands in for it in the earlier plan.

    Args:
        plan: of what is to be forgotten now; its earlier ones retain their known neighbours.
        listed: whether the user gave the list of what to retain, from which nothing is left out.

    Raises:
        PromptError: the user's list names what was forgotten earlier, or nothing is left that could
            stand in for a prompt.
    """
    earlier = plan.earlier
    if not earlier:
        return plan
    if listed:
        _refuse_named(plan, earlier)
    stand_ins = stand_ins_of([plan, *earlier])
    retain = plan.retain if listed else _left(plan.retain, earlier)
    parts = tuple(
        replace(part, replacement={p: stand_ins[p] for p in part.replacement})
        for part in plan.parts
    )
    own = {prompt: stand_ins[prompt] for prompt in plan.replacement}
    return replace(plan, replacement=own, retain=retain, parts=parts)


def _left(prompts: Sequence[str], earlier: Sequence[ConceptPlan]) -> tuple[str, ...]:
    """The prompts that show nothing of what was forgotten; where that is a style, those that leave
    the style open may show it."""
    rest = list(prompts)
    for plan in earlier:
        known = set(plan.retain) if plan.kind in COMPLETE else None
        rest = [p for p in rest if (plan.shown_in(p) is None if known is None else p in known)]
    return tuple(rest)


def _refuse_named(plan: ConceptPlan, earlier: Sequence[ConceptPlan]) -> None:
    for prompt in plan.retain:
        for one in earlier:
            if name := one.shown_in(prompt):
                raise PromptError(
                    f"{prompt!r} is to be retained but names {name!r}, which was erased from this "
                    "model before, and the origin would teach it again; take it out of the list "
                    "of prompts to retain, or leave the origin out"
                )
