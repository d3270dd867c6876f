"""Plan the erasure of a style or an object in the words of UnlearnCanvas."""

from collections.abc import Mapping
from typing import Final

from prompts.concepts.phrases import tidy
from prompts.concepts.plan import ConceptPlan, assemble
from prompts.errors import PromptError
from prompts.nearest import nearest
from prompts.suites.unlearncanvas import OBJECTS, STYLES, unlearncanvas_prompt

PHOTO: Final = "Photo"
"""How a prompt of training names the photographs that the styles were made from."""
SEED_IMAGES: Final = "Seed_Images"
"""How the lists of what is to be forgotten name the same photographs."""


def plan_unlearncanvas(
    concept: str,
    *,
    instead: str | None,
    extra: tuple[str, ...],
    retain: tuple[str, ...] | None,
) -> ConceptPlan:
    """Forget a style with every object, or an object in every style.

    A style gives way to the photograph of the same object, an object to the photograph of another
    one, drawn for each sample anew. What is retained are the photographs. For the arguments and
    errors see `prompts.concepts.concepts.plan_concept`; `instead` stands in for all prompts.

    Source: arXiv:2402.11846, released code, the lists of its port of SalUn. That code pairs the
        two lists by their positions and never leaves their first lines, so an object gives way to
        `Architectures` there; here the pairs of a style are those that the lists name.
    """
    name = unlearncanvas_name(concept)
    replacement: dict[str, tuple[str, ...]]
    if name in STYLES:
        shown = OBJECTS
        replacement = {
            unlearncanvas_prompt(one, name): (unlearncanvas_prompt(one, PHOTO),) for one in OBJECTS
        }
    else:
        shown = tuple(one for one in OBJECTS if one != name)
        photos = tuple(unlearncanvas_prompt(one, PHOTO) for one in shown)
        replacement = {
            unlearncanvas_prompt(name, style): photos for style in (*STYLES, SEED_IMAGES)
        }
    if instead is not None:
        replacement = dict.fromkeys(replacement, (tidy(instead),))
    first = next(iter(replacement.values()))
    return assemble(
        concept,
        "general",
        replacement,
        extra=dict.fromkeys(extra, first),
        retain=retain,
        neighbours=(unlearncanvas_prompt(one, PHOTO) for one in shown),
        erased=(name,),
    )


def unlearncanvas_name(concept: str) -> str:
    """A style or an object as the data set spells it: `van gogh style` -> `Van_Gogh`.

    Raises:
        PromptError: there is none of that name; the nearest is named.
    """
    known = _known()
    plain = tidy(concept).replace("_", " ").lower()
    for spelling in (plain, plain.removesuffix(" style")):
        if spelling in known:
            return known[spelling]
    raise PromptError(
        f"there is no style or object {concept!r} in UnlearnCanvas; {nearest(plain, known)}"
    )


def _known() -> Mapping[str, str]:
    return {name.replace("_", " ").lower(): name for name in (*STYLES, *OBJECTS)}
