"""Plan the erasure of a class from a model that is told classes by number and reads no text."""

from collections.abc import Sequence

from prompts.concepts.plan import ConceptPlan, assemble
from prompts.errors import PromptError
from prompts.nearest import nearest


def plan_label(
    concept: str,
    classes: Sequence[str],
    *,
    instead: str | None,
    extra: tuple[str, ...],
    retain: tuple[str, ...] | None,
) -> ConceptPlan:
    """Forget a class; its label is replaced by that of another, and all others are retained.

    Args:
        concept: one of `classes`.
        classes: all names, in the order of their numbers; a prompt is one of them.
        instead: None or `next` for the class that comes after it, first after last; `any` for any
            of the others, for each sample anew; a name; or the empty text for no class.
        extra: further classes to forget.
        retain: classes in place of all others.

    Raises:
        PromptError: `concept`, `instead`, or one of the other two lists is no class.

    Source: arXiv:2310.12508, 4.2; its released code takes (c + 1) mod 10 for every sample.
    """
    more = (_known(name, classes, "a prompt to forget") for name in extra)
    gone = tuple(dict.fromkeys((_known(concept, classes, "the concept"), *more)))
    for name in filter(None, retain or ()):  # the empty text is no class, which may be retained
        _known(name, classes, "a prompt to retain")
    others = tuple(name for name in classes if name not in gone)
    if not others:
        raise PromptError("all classes are to be forgotten; leave one to be drawn in their place")
    stand_ins = {name: _stand_ins(name, classes, others, instead) for name in gone}
    return assemble(
        concept,
        "label",
        {concept: stand_ins[concept]},
        extra=stand_ins,
        retain=retain,
        neighbours=others,
        erased=gone,
    )


def _stand_ins(
    name: str, classes: Sequence[str], others: tuple[str, ...], instead: str | None
) -> tuple[str, ...]:
    if instead == "any":
        return others
    if instead is None or instead == "next":
        at = classes.index(name)
        return (next(n for n in (*classes[at + 1 :], *classes[:at]) if n in others),)
    return ("",) if not instead else (_known(instead, classes, "instead"),)


def _known(name: str, classes: Sequence[str], role: str) -> str:
    if name not in classes:
        raise PromptError(f"{role} {name!r} is no class of this model; {nearest(name, classes)}")
    return name
