"""From a concept's name to the prompts that erase it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from prompts.concepts.canvas_concepts import plan_canvas
from prompts.concepts.general_concepts import plan_general
from prompts.concepts.label_concepts import plan_label
from prompts.concepts.nonce import NONCE, with_nonce_words
from prompts.concepts.phrases import tidy
from prompts.concepts.plan import ConceptPlan
from prompts.concepts.syntax import require_plain
from prompts.concepts.unlearncanvas_concepts import plan_unlearncanvas
from prompts.errors import PromptError

__all__ = ["ConceptPlan", "Family", "plan_concept"]

Family = Literal["canvas", "general", "unlearncanvas"]
"""Whose words a concept is put into."""
_PLANS: Final[Mapping[Family, Callable[..., ConceptPlan]]] = {
    "canvas": plan_canvas,
    "general": plan_general,
    "unlearncanvas": plan_unlearncanvas,
}


def plan_concept(
    concept: str,
    *,
    family: Family,
    labels: Sequence[str] = (),
    instead: str | None = None,
    prompts: Sequence[str] | None = None,
    retain: Sequence[str] | None = None,
) -> ConceptPlan:
    """Choose what to forget, what stands in for it, and what to retain.

    Args:
        concept: any word or phrase the model knows, in any case. On the canvas an object, a
            style, or `weapon`; in general an ImageNette class, `nudity`, a style
            (`Van Gogh style`, `in the style of Van Gogh`), or any other thing.
        family: whose words it is put into.
        labels: the names of all classes of a model that is told them by number; none of a model
            that reads text.
        instead: what stands in for the concept. None for the default: on the canvas and for
            ImageNette the next name, for nudity the paper's clothed person, for a style the same
            subject without it, else `an object`. `next` and `any` (uniformly any other name, for
            each sample anew) need a set of names. `nonce` puts words that mean nothing in the
            concept's place, one for each sample: what the model draws for a word that it never
            learned. A name of that set, or on the canvas a prompt
            that names one without a style, keeps each prompt's wording; any other text, the empty
            prompt too, stands in for all prompts as it is.
        prompts: further prompts to forget; what stands in for the concept takes its place in
            them where they name it, else they get the concept's first replacement.
        retain: prompts to retain in place of the known neighbours; an empty list for none.

    Raises:
        PromptError: the concept is empty, a number for a model that reads text, or unknown to the
            canvas or among the labels, `instead` fits it not,
            one of both is written in the prompt syntax of another program, a prompt is to be
            forgotten and also to stand in or to be retained, or one of `retain` names the concept.

    Source: arXiv:2310.12508 and its released code for classes and nudity; the rest is ours.
    """
    named = tidy(concept)
    if not named:
        raise PromptError("the concept is empty; name what to erase, such as `church`")
    if labels:
        retained = None if retain is None else tuple(retain)
        extra = tuple(prompts or ())
        return plan_label(concept, labels, instead=instead, extra=extra, retain=retained)
    if named.isdecimal():
        raise PromptError(
            f"the concept {named!r} is a number, and this model reads text and is told no label; "
            "name what to erase in words, such as `church`"
        )
    require_plain(named, "the concept")
    require_plain(instead or "", "instead")
    made = _PLANS[family](
        named,
        instead=None if instead == NONCE else instead,
        extra=tuple(map(tidy, prompts or ())),
        retain=None if retain is None else tuple(map(tidy, retain)),
    )
    if instead == NONCE:
        made = with_nonce_words(made)
    if retain is not None:
        _refuse_named(made)
    return made


def _refuse_named(plan: ConceptPlan) -> None:
    """Raise PromptError where a prompt to retain names what is erased."""
    for prompt in plan.retain:
        if name := plan.shown_in(prompt):
            raise PromptError(
                f"{prompt!r} is to be retained but names {name!r}, which is to be forgotten; "
                "take it out of the list of prompts to retain"
            )
