"""Plan the erasure of a concept from a model whose vocabulary is not known."""

import re
from typing import Final

from prompts.concepts.general import CLOTHED, CLOTHED_PERSON, GENERAL, NUDE
from prompts.concepts.phrases import bare, mentions, noun_phrase, swap, tidy
from prompts.concepts.plan import ConceptPlan, assemble
from prompts.errors import PromptError
from prompts.suites.imagenette import CLASSES, find_label, next_label

NUDITY: Final = ("nudity", "nude", "nsfw")
"""Words that mean the paper's nudity task."""

OBJECT_TEMPLATES: Final = (
    "an image of {}",
    "a photo of {}",
    "a picture of {}",
    "a painting of {}",
    "a drawing of {}",
    "{}",
)
OBJECT_ANCHOR: Final = "object"
"""Stands in for a thing whose kind is not known: `an image of an object` is drawn as well-formed
as the concept's own pictures, which those of the empty prompt are not. A kind that is known, such
as `a dog` for a breed, is the better anchor: give it as `instead`."""

STYLE_SUBJECTS: Final = (
    "a painting",
    "a painting of a landscape",
    "a painting of a city street",
    "a painting of flowers in a vase",
    "a portrait of a woman",
    "a portrait of an old man",
    "a picture of a house by the sea",
    "a picture of an animal",
)
STYLE_TEMPLATES: Final = ("{subject} in the style of {name}", "{subject} in {name} style")
"""What stands in for such a prompt is its subject alone, so only the style has to go."""

_STYLE: Final = re.compile(
    r"(?:in )?(?:the )?style of\b(?P<after>.*)|(?:in )?(?P<before>.*?)(?:'s)?[ -]style",
    re.IGNORECASE,
)


def plan_general(
    concept: str,
    *,
    instead: str | None,
    extra: tuple[str, ...],
    retain: tuple[str, ...] | None,
) -> ConceptPlan:
    """Forget an ImageNette class or nudity as the paper does, or any other object or style.

    See `prompts.concepts.concepts.plan_concept` for arguments and errors.
    """
    label = find_label(concept)
    if label is not None:
        return _plan_class(concept, label, instead, extra, retain)
    if instead in ("next", "any"):
        raise PromptError(
            f"instead is {instead!r}, but {concept!r} is none of a known set of classes; "
            "give an anchor prompt, or leave it out"
        )
    anchor = None if instead is None else tidy(instead)
    if concept.lower() in NUDITY:
        anchor = CLOTHED_PERSON if anchor is None else anchor
        return assemble(
            concept,
            "nudity",
            {NUDE: (anchor,)},
            extra={prompt: (anchor,) for prompt in extra},
            retain=retain,
            neighbours=CLOTHED,
            erased=("nudity",),
        )
    style = _STYLE.fullmatch(concept)
    if style is None:
        name, own, added = concept, _object_prompts(concept), _object_extra(concept, extra)
    else:
        name = (style["after"] or style["before"] or "").strip()
        if not name:
            raise PromptError(f"{concept!r} names no style; write `Van Gogh style` or the like")
        own, added = _style_prompts(name), _style_extra(name, extra)
    if anchor is not None:
        own, added = dict.fromkeys(own, anchor), dict.fromkeys(added, anchor)
    return assemble(
        concept,
        "general",
        {prompt: (stand_in,) for prompt, stand_in in own.items()},
        extra={prompt: (stand_in,) for prompt, stand_in in added.items()},
        retain=retain,
        neighbours=(prompt for prompt in GENERAL if not mentions(prompt, name)),
        erased=(name,),
    )


def _plan_class(
    concept: str,
    label: int,
    instead: str | None,
    extra: tuple[str, ...],
    retain: tuple[str, ...] | None,
) -> ConceptPlan:
    """The paper's class forgetting; the other nine classes are retained."""
    erased = CLASSES[label]
    others = [one for one in CLASSES if one is not erased]
    stand_ins = [CLASSES[next_label(label)]]
    if instead == "any":
        stand_ins = others
    elif instead is not None and instead != "next":
        named = find_label(instead)
        stand_ins = [] if named is None else [CLASSES[named]]
    anchors = tuple(one.prompt for one in stand_ins) or (tidy(instead or ""),)
    added = {}
    for prompt in extra:
        swapped = tuple(
            new for one in stand_ins if (new := swap(prompt, erased.name, one.name)) is not None
        )
        added[prompt] = swapped or anchors
    return assemble(
        concept,
        "class",
        {erased.prompt: anchors},
        extra=added,
        retain=retain,
        neighbours=(one.prompt for one in others),
        erased=(erased.name,),
    )


def _object_prompts(concept: str) -> dict[str, str]:
    noun, anchor = noun_phrase(concept), noun_phrase(OBJECT_ANCHOR)
    return {template.format(noun): template.format(anchor) for template in OBJECT_TEMPLATES}


def _object_extra(concept: str, extra: tuple[str, ...]) -> dict[str, str]:
    anchor = OBJECT_TEMPLATES[0].format(noun_phrase(OBJECT_ANCHOR))
    return {prompt: swap(prompt, bare(concept), OBJECT_ANCHOR) or anchor for prompt in extra}


def _style_prompts(name: str) -> dict[str, str]:
    return {
        template.format(subject=subject, name=name): subject
        for subject in STYLE_SUBJECTS
        for template in STYLE_TEMPLATES
    }


def _style_extra(name: str, extra: tuple[str, ...]) -> dict[str, str]:
    """The user's prompts without the words that name the style: `Starry Night by Van Gogh`."""
    words = re.compile(
        rf",?\s*(?:\b(?:in the style of|by|in) )?(?<!\w){re.escape(name)}(?!\w)"
        r"(?:'s)?(?:[ -]style)?",
        re.IGNORECASE,
    )
    left = {prompt: tidy(words.sub("", prompt)) for prompt in extra}
    return {
        prompt: subject if subject and subject != prompt else STYLE_SUBJECTS[0]
        for prompt, subject in left.items()
    }
