"""Rates of a model from which several kinds were erased together, such as objects and a style."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from eval.rates.unlearning_rates import (
    ClassAccuracy,
    Compared,
    Hits,
    Labels,
    UnlearningRates,
    class_accuracies,
    compare,
    hits_of,
    rejections,
)

OF_KIND: Final = "ua_"
"""What the names of the unlearning accuracies of a single kind begin with."""


def rates_of_kinds(
    asked: Sequence[Labels],
    after: Sequence[Labels | None],
    before: Sequence[Labels | None] | None = None,
    *,
    erased: Mapping[str, Collection[str]],
    heads: Sequence[str],
    rejecting: Collection[str] = (),
) -> UnlearningRates:
    """Judge kind by kind, and all together.

    - `ua_HEAD`: of the pictures asked for an erased label of that head, the share in which the head
      does not see it; one rate a kind.
    - `ua`: of the pictures asked for anything erased, the share in which nothing of it is seen.
    - `ira`, `cra`: of the pictures that were asked for nothing erased of any kind, the share in
      which the first and the second head see what was asked for.

    With one kind these are the rates of `unlearning_rates`. There is a class for each label: an
    erased one over all its pictures, any other over those that were asked for nothing erased.

    Args:
        asked: what each picture was asked to show.
        after: what is seen in the edited model's pictures; None for one that cannot be used.
        before: the same for the base model's pictures.
        erased: head -> the erased labels that are of it.
        heads: all heads of the suite, the main one first.
        rejecting: heads that may answer `none of these`.
    """
    sides = [after] if before is None else [after, before]
    others = [i for i, labels in enumerate(asked) if not _erased_in(labels, erased)]
    gone = [i for i, labels in enumerate(asked) if _erased_in(labels, erased)]
    rates = {"ua": compare(gone, [_unseen(asked, side, erased) for side in sides])}
    nothing: dict[str, Compared] = {}
    classes: list[ClassAccuracy] = []
    for head, name in zip(heads, ("ira", "cra"), strict=False):
        hits = [hits_of(asked, side, head) for side in sides]
        refused = rejections(asked, sides, head, rejecting)
        own = erased.get(head, ())
        chosen = [i for i, labels in enumerate(asked) if labels.get(head) in own]
        if own:
            rates[f"{OF_KIND}{head}"] = compare(chosen, [_missed(side) for side in hits])
        rates[name] = compare(others, hits)
        shown = [i for i in range(len(asked)) if i in set(chosen) or i in set(others)]
        classes += class_accuracies(asked, hits, refused, shown, head, own)
        if refused:
            nothing |= {f"{OF_KIND}{head}": compare(chosen, refused)} if own else {}
            nothing[name] = compare(others, refused)
    if refusals := _refused(asked, sides, erased, rejecting):
        nothing["ua"] = compare(gone, refusals)
    order = sorted(rates, key=lambda name: (not name.startswith("ua"), name == "cra"))
    return UnlearningRates(
        rates={name: rates[name] for name in order}, classes=tuple(classes), rejected=nothing
    )


def _erased_in(labels: Labels, erased: Mapping[str, Collection[str]]) -> list[str]:
    """The heads whose label is an erased one."""
    return [head for head, names in erased.items() if labels.get(head) in names]


def _missed(hits: Hits) -> Hits:
    return [None if hit is None else not hit for hit in hits]


def _unseen(
    asked: Sequence[Labels],
    seen: Sequence[Labels | None],
    erased: Mapping[str, Collection[str]],
) -> Hits:
    """Whether nothing erased that was asked for is seen; None where that cannot be said."""

    def each() -> Iterator[bool | None]:
        for wanted, verdict in zip(asked, seen, strict=True):
            heads = _erased_in(wanted, erased)
            if verdict is None or not heads or any(head not in verdict for head in heads):
                yield None
            else:
                yield all(verdict[head] != wanted[head] for head in heads)

    return list(each())


def _refused(
    asked: Sequence[Labels],
    sides: Sequence[Sequence[Labels | None]],
    erased: Mapping[str, Collection[str]],
    rejecting: Collection[str],
) -> list[Hits]:
    """Whether each erased kind that was asked for is rejected, by side; no sides where a head
    cannot say so."""
    by_head = {head: rejections(asked, sides, head, rejecting) for head in erased}
    if not all(by_head.values()):
        return []
    refused: list[Hits] = []
    for side in range(len(sides)):
        row: list[bool | None] = []
        for n, labels in enumerate(asked):
            answers = [by_head[head][side][n] for head in _erased_in(labels, erased)]
            known = [answer for answer in answers if answer is not None]
            row.append(all(known) if known and len(known) == len(answers) else None)
        refused.append(row)
    return refused
