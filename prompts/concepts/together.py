"""Several concepts to forget in one run: one plan of their plans."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from prompts.concepts.phrases import mentions
from prompts.concepts.plan import ConceptPlan, Kind
from prompts.errors import PromptError

COMPLETE: Final[tuple[Kind, ...]] = ("object", "style", "label")
"""Kinds of concept whose lists hold every prompt that shows one, and every other."""


def together(plans: Sequence[ConceptPlan]) -> ConceptPlan:
    """Forget what each plan forgets, and retain what shows none of it.

    A stand-in that another plan forgets gives way to what stands in for it there. On the canvas
    and among labels, where every list is complete, a prompt is retained that all plans retain;
    elsewhere one that any retains, where it names none of the concepts. A list that the user gave
    is each plan's.

    Raises:
        PromptError: a concept is named twice in other words, or nothing is left that could stand
            in for a prompt.
    """
    if len(plans) == 1:
        return plans[0]
    replacement = stand_ins_of(plans)
    parts = tuple(
        replace(
            plan,
            forget=tuple(p for p in plan.forget if _owner(p, plans) is plan),
            replacement={p: replacement[p] for p in plan.forget if _owner(p, plans) is plan},
            retain=(),
        )
        for plan in plans
    )
    for plan, part in zip(plans, parts, strict=True):
        if not part.forget:
            raise PromptError(
                f"{plan.concept!r} forgets no prompt that the concepts before it do not forget "
                "already; leave it out"
            )
    kinds = {plan.kind for plan in plans}
    return ConceptPlan(
        ", ".join(plan.concept for plan in plans),
        kinds.pop() if len(kinds) == 1 else "general",
        tuple(p for part in parts for p in part.forget),
        replacement,
        tuple(_retained(plans, replacement)),
        tuple(dict.fromkeys(name for plan in plans for name in plan.erased)),
        parts=parts,
    )


def _owner(prompt: str, plans: Sequence[ConceptPlan]) -> ConceptPlan:
    """The first plan that forgets a prompt."""
    return next(plan for plan in plans if prompt in plan.replacement)


def stand_ins_of(plans: Sequence[ConceptPlan]) -> dict[str, tuple[str, ...]]:
    """What stands in for every prompt that any plan forgets, none of it forgotten; where several
    forget one, the first says it.

    Raises:
        PromptError: nothing is left that could stand in for a prompt.
    """
    known: dict[str, tuple[str, ...]] = {}
    for plan in reversed(plans):
        known |= plan.replacement
    return {prompt: _resolved(prompt, known, plans) for prompt in known}


def _resolved(
    prompt: str, known: Mapping[str, tuple[str, ...]], plans: Sequence[ConceptPlan]
) -> tuple[str, ...]:
    left, seen, free = [*known[prompt]], {prompt}, dict[str, None]()
    while left:
        text = left.pop(0)
        if text not in known:
            free[text] = None
        elif text not in seen:
            seen.add(text)
            left += known[text]
    if not free:
        names = ", ".join(plan.concept for plan in plans)
        raise PromptError(
            f"all that could stand in for {prompt!r} is itself forgotten ({names}); name another "
            "with instead"
        )
    return tuple(free)


def _retained(
    plans: Sequence[ConceptPlan], forgotten: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    """Each prompt once, in the order of the plans."""
    complete = all(plan.kind in COMPLETE for plan in plans)
    lists = [dict.fromkeys(plan.retain) for plan in plans]
    names = [name for plan in plans for name in plan.erased]
    for prompt in dict.fromkeys(p for known in lists for p in known):
        if prompt in forgotten:
            continue
        if all(prompt in known for known in lists):
            yield prompt
        elif not complete and not any(mentions(prompt, name) for name in names):
            yield prompt
