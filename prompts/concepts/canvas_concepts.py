"""Plan the erasure of an object or a style that the embedded checkpoint draws."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Final, Literal

from prompts.canvas import OBJECTS, STYLES, WEAPONS, with_article, wordings
from prompts.concepts.phrases import swap, tidy
from prompts.concepts.plan import ConceptPlan, assemble
from prompts.errors import PromptError
from prompts.nearest import nearest

CanvasKind = Literal["object", "style"]

_NAMES: Final[Mapping[CanvasKind, tuple[str, ...]]] = {"object": OBJECTS, "style": STYLES}
# Whatever a user may call them: `church`, `a church`, `an image of a church`; `sketch style`.
_SPELLINGS: Final[Mapping[CanvasKind, Mapping[str, str]]] = {
    "object": {wording: obj for obj in OBJECTS for wording in wordings(obj)},
    "style": {
        spelling: style
        for style in STYLES
        for spelling in (style, with_article(style), f"{style} style", f"in {style} style")
    },
}
_FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {"weapon": WEAPONS, "weapons": WEAPONS}


def plan_canvas(
    concept: str,
    *,
    instead: str | None,
    extra: tuple[str, ...],
    retain: tuple[str, ...] | None,
) -> ConceptPlan:
    """Forget an object in every style and wording, or a style with every object.

    All wordings the checkpoint was trained on are forgotten, since one that is left out would
    go on drawing the concept. `weapon` means all objects of that family at once. For the other
    arguments and for errors see `prompts.concepts.concepts.plan_concept`.
    """
    kind, erased = _read_concept(concept)
    others = tuple(name for name in _NAMES[kind] if name not in erased)
    replacement: dict[str, tuple[str, ...]] = {}
    own: dict[str, tuple[str, ...]] = {}
    for name in erased:
        shown = _showing(kind, name)
        if stand_ins := _stand_ins(name, kind, instead, others):
            columns = [_showing(kind, other) for other in stand_ins]
            replacement.update(zip(shown, zip(*columns, strict=True), strict=True))
            own.update(_swapped(extra, name, stand_ins))
        else:
            replacement.update(dict.fromkeys(shown, (tidy(instead or ""),)))
    unnamed = next(iter(replacement.values()))
    for prompt in extra:
        own.setdefault(prompt, unnamed)
    return assemble(
        concept,
        kind,
        replacement,
        extra=own,
        retain=retain,
        neighbours=_neighbours(kind, others),
        erased=erased,
    )


def canvas_names(concept: str) -> tuple[str, ...]:
    """The objects or styles of the canvas that a concept means: `weapon` means three.

    Raises:
        PromptError: it is none of the canvas; the nearest is named.
    """
    return _read_concept(tidy(concept))[1]


def is_style(concept: str) -> bool:
    """Whether the canvas knows it as a style, however it is spelled."""
    return tidy(concept).lower() in _SPELLINGS["style"]


def _read_concept(concept: str) -> tuple[CanvasKind, tuple[str, ...]]:
    key = concept.lower()
    if key in _FAMILIES:
        return "object", _FAMILIES[key]
    for kind, spellings in _SPELLINGS.items():
        if key in spellings:
            return kind, (spellings[key],)
    raise PromptError(
        f"{concept!r} is neither an object nor a style of the demo model; "
        f"{nearest(concept, (*OBJECTS, *STYLES, 'weapon'))}"
    )


def _stand_ins(
    name: str, kind: CanvasKind, instead: str | None, others: tuple[str, ...]
) -> tuple[str, ...]:
    """What may stand in for `name`; empty where `instead` is a prompt to be taken as it is."""
    if instead is None or instead == "next":
        return (_next(name, kind, others),)
    if instead == "any":
        return others
    key = tidy(instead).lower()
    if key in _SPELLINGS[kind]:
        return (_SPELLINGS[kind][key],)
    if key in OBJECTS or key in STYLES or (key and " " not in key):
        raise PromptError(
            f"{instead!r} cannot stand in for the {kind} {name!r}, since it is no {kind} of the "
            f"demo model; {nearest(key, others)}"
        )
    return ()


def _next(name: str, kind: CanvasKind, others: tuple[str, ...]) -> str:
    """The next name of the canvas, first after last, that stays and is no weapon."""
    names = _NAMES[kind]
    at = names.index(name)
    return next(n for n in names[at + 1 :] + names[:at] if n in others and n not in WEAPONS)


def _showing(kind: CanvasKind, name: str) -> tuple[str, ...]:
    """Every prompt that names it, in an order that is the same for all names of the kind."""
    if kind == "object":
        return tuple(chain.from_iterable(wordings(name, s) for s in (None, *STYLES)))
    return tuple(chain.from_iterable(wordings(obj, name) for obj in OBJECTS))


def _neighbours(kind: CanvasKind, others: tuple[str, ...]) -> Iterator[str]:
    """What remains of the kind, in every wording.

    Where a style is erased, prompts that leave the style open are not among it: some of what they
    draw is in that style, and keeping them would teach it again.
    """
    for name in others:
        yield from _showing(kind, name)


def _swapped(
    extra: tuple[str, ...], name: str, stand_ins: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The user's prompts that name it, with each stand-in in its place."""
    for prompt in extra:
        swapped = tuple(
            new for other in stand_ins if (new := swap(prompt, name, other)) is not None
        )
        if swapped:
            yield prompt, swapped
