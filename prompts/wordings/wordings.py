"""All wordings of a concept, from templates and from the list written by hand."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

from prompts.concepts.phrases import bare, noun_phrase, tidy
from prompts.wordings.known import Phrase, known_phrases
from prompts.wordings.spelling import look_alikes, pieces, typos

_SUBJECTS: Final = ("a dog", "a tree", "a horse")
"""What is drawn in a style, and what stands beside a thing."""
_FORMS: Final = ("an image of two {many}", "{0}, {0}, {0}", "THE {}", "a close-up of {a}")
_COMPOSED: Final = (
    "{a} next to {other}",
    "{other} in front of {a}",
    "{other} and {a}",
    "a street with {a} and people",
)
_STYLED: Final = ("an oil painting of {a}", "a 3d render of {a}", "a black and white photo of {a}")
_OF_STYLE: Final = ("{other}, {}", "{} {other}", "{other} drawn like a {}", "{other} as a {}")


def wordings(
    concept: str, kind: Literal["thing", "style"], others: Sequence[str] = ()
) -> tuple[Phrase, ...]:
    """Prompts that ask for a concept in other words than the plain ones, without repeats.

    Whether a model understands one of them has to be tried on the model before the erasure.

    Args:
        concept: `church`, `a church`, `Van Gogh style`.
        kind: of the concept.
        others: noun phrases of other things, to stand beside it; a dog and a tree if none.
    """
    made = _of_style(concept) if kind == "style" else _of_thing(concept, others)
    seen: dict[str, Phrase] = {}
    for phrase in made:
        seen.setdefault(phrase.prompt, phrase)
    return tuple(seen.values())


def _of_thing(concept: str, others: Sequence[str]) -> Iterator[Phrase]:
    noun = bare(tidy(concept))
    beside = [*others, *_SUBJECTS]
    for known in known_phrases(noun):
        yield Phrase(known.kind, f"an image of {_with_article(known)}")
    yield from _respelled(noun, lambda word: f"an image of {noun_phrase(word)}")
    for template in _FORMS:
        yield Phrase("form", template.format(noun, a=noun_phrase(noun), many=plural(noun)))
    for template, other in zip(_COMPOSED, [*beside, *beside], strict=False):
        yield Phrase("composition", template.format(a=noun_phrase(noun), other=other))
    for template in _STYLED:
        yield Phrase("style", template.format(a=noun_phrase(noun)))


def plural(noun: str) -> str:
    """`church` -> `churches`, `butterfly` -> `butterflies`, `dog` -> `dogs`."""
    if re.search(r"(?:s|x|z|ch|sh)$", noun, re.IGNORECASE):
        return f"{noun}es"
    if re.search(r"[^aeiou]y$", noun, re.IGNORECASE):
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def _of_style(concept: str) -> Iterator[Phrase]:
    name = tidy(concept).removeprefix("in the style of ").removesuffix(" style")
    for known in known_phrases(name):
        for subject in _SUBJECTS[:2]:
            yield Phrase(known.kind, f"an image of {subject}, {known.prompt}")
    yield from _respelled(name, lambda word: f"an image of {_SUBJECTS[0]} in {word} style")
    for template in _OF_STYLE:
        for subject in _SUBJECTS[:2]:
            yield Phrase("form", template.format(name, other=subject))


def _with_article(known: Phrase) -> str:
    """Foreign phrases and whole descriptions bring their own."""
    own = known.kind.startswith("language") or known.kind == "indirect"
    return known.prompt if own else noun_phrase(known.prompt)


def _respelled(word: str, put: Callable[[str], str]) -> Iterator[Phrase]:
    for kind, made in (("typo", typos), ("look-alike", look_alikes), ("cut", pieces)):
        for other in made(word):
            yield Phrase(kind, put(other))
