"""Which pictures a report shows, a card a prompt: as many as keep the page a sensible size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from pipelines.evaluation.outcome.results import DrawnImage, ImageRecord, Results
from pipelines.evaluation.report.report_format import shortened
from pipelines.evaluation.report.report_marks import Marks, marks, remarks
from pipelines.evaluation.report.report_pictures import Inlined, inline

T = TypeVar("T")

NOT_SHOWN: Final[Mapping[str, str]] = {
    "nan": "the model drew values that are not numbers",
    "black": "the picture is all black",
    "refused": "the guard refused the prompt, so nothing was drawn",
}
"""State of a picture that no page shows -> what stands in its place."""
MAX_PAIRS: Final = 240
MAX_BYTES: Final = 12_000_000
"""Most bytes of pictures in the page; the rest of it takes a few megabytes at most."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two pictures."""

    name: Literal["before", "after"]
    picture: Inlined
    usable: bool
    """Neither all black nor drawn from values that are not numbers."""
    unsafe: bool
    words: tuple[str, ...]
    """What the judges say of the picture."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One case; without a model before there is one picture only."""

    case: str
    seed: int
    marks: Marks
    after: Side
    before: Side | None

    @property
    def unsafe(self) -> bool:
        """Either one."""
        return self.after.unsafe or (self.before is not None and self.before.unsafe)


@dataclass(frozen=True, slots=True)
class Card:
    """One prompt and those of its pictures that are shown."""

    number: int
    """Place of the prompt in the suite, from 0."""
    prompt: str
    pairs: tuple[Pair, ...]

    @property
    def erased(self) -> bool:
        """The prompt asks for what was erased."""
        return self.pairs[0].marks.erased

    @property
    def telling(self) -> bool:
        """At least one of its pictures is."""
        return any(pair.marks.telling for pair in self.pairs)


@dataclass(frozen=True, slots=True)
class Gallery:
    """The pictures of the page."""

    cards: tuple[Card, ...]
    """Erased prompts first; among them, and among the others, the telling ones first."""
    shown: int
    total: int
    missing: tuple[str, ...]
    """Pictures that could not be read."""

    @property
    def kinds(self) -> tuple[tuple[str, str, int], ...]:
        """(key, words, prompts) of what can be looked at alone."""
        erased = sum(card.erased for card in self.cards)
        return (
            ("all", "All", len(self.cards)),
            ("erased", "Erased", erased),
            ("kept", "Others", len(self.cards) - erased),
            ("telling", "Found or lost", sum(card.telling for card in self.cards)),
        )


def gallery(results: Results, folder: Path) -> Gallery:
    """Choose and inline pictures: at most `MAX_PAIRS` cases and about `MAX_BYTES`.

    Of what does not fit whole, up to half goes to telling cases (still found, lost) and the rest
    is spread evenly over the suite, so that the page shows both the failures and the rule.
    """
    marked = [(image, marks(image, results)) for image in results.images]
    pairs: dict[str, list[Pair]] = {}
    size = 0
    for image, mark in choose(marked, MAX_PAIRS):
        pair = _pair(image, mark, folder)
        size += sum(len(side.picture.uri) for side in (pair.after, pair.before) if side)
        if size > MAX_BYTES:
            break
        pairs.setdefault(image.prompt, []).append(pair)
    numbers: dict[str, int] = {}
    for image in results.images:
        numbers.setdefault(image.prompt, len(numbers))
    cards = [
        Card(numbers[p], shortened(p), tuple(_ordered(its_pairs))) for p, its_pairs in pairs.items()
    ]
    cards.sort(key=lambda c: (not c.erased, not c.telling, c.number))
    sides = [side for c in cards for pair in c.pairs for side in (pair.after, pair.before) if side]
    return Gallery(
        tuple(cards),
        sum(len(card.pairs) for card in cards),
        len(results.images),
        tuple(s.picture.missing for s in sides if s.usable and s.picture.missing),
    )


def choose(
    marked: Sequence[tuple[ImageRecord, Marks]], limit: int
) -> list[tuple[ImageRecord, Marks]]:
    """At most `limit` cases in the order in which to give them room.

    Erased prompts get at least half of the room where they need it, and so do the others.
    """
    erased = [item for item in marked if item[1].erased]
    others = [item for item in marked if not item[1].erased]
    room = max(limit - len(others), (limit + 1) // 2)
    first = _spread(erased, room)
    rest = _spread(others, limit - len(first))
    # Alternating, so that a page whose pictures are large loses the last of both.
    turns = [(float(n * max(1, len(rest))), item) for n, item in enumerate(first)]
    turns += [(n * max(1, len(first)) + 0.5, item) for n, item in enumerate(rest)]
    return [item for _, item in sorted(turns, key=lambda turn: turn[0])]


def _spread(
    items: Sequence[tuple[ImageRecord, Marks]], room: int
) -> list[tuple[ImageRecord, Marks]]:
    if len(items) <= room:
        return list(items)
    telling = evenly([item for item in items if item[1].telling], room // 2)
    taken = {item[0].case for item in telling}
    plain = [item for item in items if item[0].case not in taken]
    return telling + evenly(plain, room - len(telling))


def evenly(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, evenly over all, so that they show different things."""
    if len(items) <= count:
        return list(items)
    return [items[n * len(items) // count] for n in range(count)]


def _ordered(pairs: Sequence[Pair]) -> list[Pair]:
    """The telling ones first, then by seed."""
    return sorted(pairs, key=lambda pair: (not pair.marks.telling, pair.seed))


def _pair(image: ImageRecord, mark: Marks, folder: Path) -> Pair:
    before = None
    if image.before is not None:
        before = _side("before", image.before, mark.unsafe_before, folder)
    after = _side("after", image.after, mark.unsafe_after, folder)
    return Pair(image.case, image.seed, mark, after, before)


def _side(name: Literal["before", "after"], drawn: DrawnImage, unsafe: bool, folder: Path) -> Side:
    if drawn.state in NOT_SHOWN:
        picture = Inlined(missing=NOT_SHOWN[drawn.state])
    else:
        picture = inline(folder, drawn.file)
    return Side(name, picture, drawn.state == "ok", unsafe, tuple(remarks(drawn)))
