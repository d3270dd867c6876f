"""From the pictures of both models to what was lost: drops, curves, labels, distances."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from torch import Tensor

from eval.damage.diversity import diversity_change
from eval.damage.drops import Drop, curve_over_rank, drops_by_group, neighbour_drops
from eval.damage.in_prompt import in_prompt_distances
from eval.damage.kernel_units import kernel_units
from eval.damage.neighbours import Neighbour, ranked_by_confusion
from eval.damage.replacement import Replacement, drawn_instead, moved_share
from eval.errors import EvalError
from eval.judges.judge import Judgement
from pipelines.audit.damage.looks import Looks
from pipelines.audit.damage.pairs import Pairs
from pipelines.audit.damage.questions import Ask
from pipelines.audit.damage.vocabulary import Vocabulary
from prompts.concepts.phrases import mentions

_TEST: Final = 0.5
"""A group is a test where the base shows what was asked for in at least this share."""
NO_LABELS: Final = "the judge names nothing beside the concept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """All that was drawn and looked at."""

    pairs: Mapping[str, Pairs]
    """`concept`, `kept`, `companions`, as far as they were drawn."""
    again: Looks | None
    """The base's pictures of `kept` by other seeds."""
    without: tuple[tuple[Ask, ...], Looks] | None
    """The base's pictures of the companions alone."""
    vocabulary: Vocabulary | None
    ranking: tuple[Neighbour, ...]
    left: Mapping[str, str] = field(default_factory=dict)
    """Part -> why nothing of it was asked, where nothing was."""
    reason: str = ""
    """Why nothing measures how far pictures lie apart; empty where something does."""


def counted(drawn: Drawn) -> dict[str, Any]:
    """Every measure by its name, and under `not_measured` a sentence for each that is not there."""
    made: dict[str, Any] = {}
    left = [f"distances of pictures: {drawn.reason}"] if drawn.reason else []
    for name, measure in _MEASURES.items():
        try:
            made[name] = measure(drawn)
        except EvalError as err:
            made[name] = None
            left.append(f"{name}: {err}")
    left.append("colours, numbers and places: no judge at hand tells them")
    return {**made, "not_measured": left}


def _instead(drawn: Drawn) -> dict[str, Any]:
    """What is seen where the concept was asked for."""
    words, pairs = _words(drawn), _part(drawn, "concept")
    before = [words.first(one) for one in pairs.before]
    after = [words.first(one) for one in pairs.after]
    return {
        "base": _labels(drawn_instead(before)),
        "audited": _labels(drawn_instead(after)),
        "moved": moved_share(before, after),
    }


def _labels(spread: Replacement) -> dict[str, Any]:
    return {"shares": spread.shares, "entropy": spread.entropy, "effective": spread.effective}


def _neighbours(drawn: Drawn) -> dict[str, Any]:
    """The drop of each neighbour, by the text encoder's order and by the judge's confusions."""
    words, pairs = _words(drawn), _part(drawn, "kept")
    groups = [ask.group for ask in pairs.asks]
    old, new = pairs.seen(lambda judgement, ask: words.first(judgement) == ask.group)
    made = {}
    for name, ranking in (("text", drawn.ranking), ("confusion", _confusions(drawn))):
        made[name] = {
            "drops": [
                {"rank": one.rank, "similarity": one.similarity, **_drop(one.drop)}
                for one in neighbour_drops(ranking, groups, old, new)
            ],
            "curve": curve_over_rank(ranking, groups, old, new),
        }
    return made


def _confusions(drawn: Drawn) -> tuple[Neighbour, ...]:
    """By the base's pictures of the concept and of those neighbours that were drawn."""
    words, plain, others = _words(drawn), _part(drawn, "concept"), _part(drawn, "kept")
    concept = words.concept[0]
    judged = [words.as_one(one) for one in (*plain.before, *others.before)]
    heads = {head for one in judged for head in one.guesses}
    head = words.head or next(iter(sorted(heads)), "")
    asked = [concept] * len(plain.before) + [ask.group for ask in others.asks]
    return ranked_by_confusion(concept, asked, judged, head)


def _companions(drawn: Drawn) -> list[dict[str, Any]]:
    """Whether what was asked for beside the concept is there."""
    words, pairs = _words(drawn), _part(drawn, "companions")
    old, new = pairs.seen(lambda judgement, ask: words.beside(judgement) == ask.group)
    return [_drop(one) for one in drops_by_group([a.group for a in pairs.asks], old, new)]


def _attributes(drawn: Drawn) -> dict[str, list[dict[str, Any]]]:
    """Whether what the prompt says by a label of another head is there: a style, on the canvas."""
    words = _words(drawn)
    if not words.attributes:
        raise EvalError("the judge tells none")
    made = {}
    for part in ("concept", "kept"):
        pairs = _part(drawn, part)
        named = [next(_named(words, ask.prompt), None) for ask in pairs.asks]
        some = pairs.chosen([n for n, one in enumerate(named) if one is not None])
        heads = [one for one in named if one is not None]
        if not heads:
            continue
        old, new = (
            [_best(one, *asked) for one, asked in zip(side, heads, strict=True)]
            for side in (some.before, some.after)
        )
        made[part] = [_drop(one) for one in drops_by_group([h[1] for h in heads], old, new)]
    if not made:
        raise EvalError("no prompt names one that the judge tells")
    return made


def _named(words: Vocabulary, prompt: str) -> Iterator[tuple[str, str]]:
    """Head and label of what a prompt names."""
    for head, labels in words.attributes.items():
        yield from ((head, label) for label in labels if mentions(prompt, label))


def _best(judgement: Judgement, head: str, label: str) -> bool:
    guesses = judgement.guesses.get(head, ())
    return bool(guesses) and guesses[0].label == label


def _in_prompt(drawn: Drawn) -> Any:  # noqa: ANN401
    """With and without the concept on one seed."""
    pairs = _part(drawn, "companions")
    old, new = pairs.features()
    assert drawn.without is not None
    asks, alone = drawn.without
    places = {(ask.group, ask.seed): n for n, ask in enumerate(asks)}
    if alone.features is None:
        raise EvalError("no picture without the concept can be used")
    at = [places[ask.group, ask.seed] for ask in pairs.asks]
    rows = [n for n, place in enumerate(at) if alone.judgements[place] is not None]
    return in_prompt_distances(new[rows], old[rows], alone.features[[at[n] for n in rows]])


def _diversity(drawn: Drawn) -> dict[str, Any]:
    """Log2 of how much pictures of one prompt differ over seeds, after over before."""
    made = {}
    for part in ("concept", "kept"):
        pairs = _part(drawn, part)
        old, new = pairs.features()
        by_prompt = _by_prompt(pairs.asks)
        before = [old[rows] for rows in by_prompt]
        after = [new[rows] for rows in by_prompt]
        made[part] = diversity_change(before, after)
    return made


def _by_prompt(asks: Sequence[Ask]) -> list[list[int]]:
    """Places of each prompt that has two pictures or more."""
    places: dict[str, list[int]] = {}
    for n, ask in enumerate(asks):
        places.setdefault(ask.prompt, []).append(n)
    return [rows for rows in places.values() if len(rows) > 1]


def _kernel(drawn: Drawn) -> dict[str, Any]:
    """How far what was kept has moved, in units of what the base differs from itself."""
    old, new = _part(drawn, "kept").features()
    units = kernel_units(new, old, _usable(drawn.again))
    names = ("distance", "error", "seeds", "unit", "units", "low", "high")
    return {name: getattr(units, name) for name in names}


def _usable(looks: Looks | None) -> Tensor:
    if looks is None or looks.features is None:
        raise EvalError("no picture of the base by other seeds can be used")
    return looks.features[[n for n, one in enumerate(looks.judgements) if one is not None]]


def _drop(drop: Drop) -> dict[str, Any]:
    """As plain values; `test` says whether the base shows it at all."""
    return {
        "group": drop.group,
        "before": drop.before,
        "after": drop.after,
        "change": drop.change,
        "test": drop.before.share >= _TEST,
    }


def _words(drawn: Drawn) -> Vocabulary:
    if drawn.vocabulary is None:
        raise EvalError(NO_LABELS)
    return drawn.vocabulary


def _part(drawn: Drawn, name: str) -> Pairs:
    if name not in drawn.pairs or not drawn.pairs[name].asks:
        known = drawn.left.get(name) if name not in drawn.pairs else None
        raise EvalError(known or "nothing of it could be asked, or no picture can be used")
    return drawn.pairs[name]


_MEASURES: Final[Mapping[str, Callable[[Drawn], Any]]] = {
    "instead": _instead,
    "neighbours": _neighbours,
    "companions": _companions,
    "attributes": _attributes,
    "in_prompt": _in_prompt,
    "diversity": _diversity,
    "kernel": _kernel,
}
