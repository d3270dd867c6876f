"""The damage as rows of one shape, for the table on the disk and the one on the page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measure of one group."""

    measure: str
    group: str
    before: float | None = None
    after: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    """The 95 % interval of the change."""
    pictures: int | None = None
    test: bool = True
    """False where the base itself does not show it, so that nothing is concluded."""
    share: bool = True
    """Whether the values are shares of pictures."""


def rows_of(damage: Mapping[str, Any]) -> list[Row]:
    """All measures that are there, in the order of the record."""
    return [
        *_of_drops("neighbour", ((damage.get("neighbours") or {}).get("text") or {}).get("drops")),
        *_of_drops("companion", damage.get("companions")),
        *(
            row
            for part, drops in (damage.get("attributes") or {}).items()
            for row in _of_drops(f"attribute, {_PARTS[part]}", drops)
        ),
        *_of_labels(damage.get("instead")),
        *_of_means(damage),
        *_of_kernel(damage.get("kernel")),
    ]


_PARTS: Final = {"concept": "with the concept", "kept": "with other things"}


def _of_drops(measure: str, drops: Any) -> Iterator[Row]:  # noqa: ANN401
    for one in drops or ():
        change = one["change"]
        yield Row(
            measure=measure,
            group=one["group"],
            before=one["before"]["share"],
            after=one["after"]["share"],
            change=change["value"],
            low=change["low"],
            high=change["high"],
            pictures=change["pairs"],
            test=one["test"],
        )


def _of_labels(instead: Mapping[str, Any] | None) -> Iterator[Row]:
    """Labels in the pictures that were asked to show the concept."""
    if instead is None:
        return
    old, new = instead["base"]["shares"], instead["audited"]["shares"]
    for label in dict.fromkeys((*new, *old)):
        there = new.get(label) or old[label]
        yield Row(
            measure="drawn instead",
            group=label,
            before=old.get(label, {}).get("share", 0.0),
            after=new.get(label, {}).get("share", 0.0),
            pictures=there["total"],
        )
    yield Row(
        measure="entropy of the labels, bits",
        group="concept",
        before=instead["base"]["entropy"],
        after=instead["audited"]["entropy"],
        share=False,
    )


def _of_means(damage: Mapping[str, Any]) -> Iterator[Row]:
    for part, mean in (damage.get("diversity") or {}).items():
        yield Row(
            measure="diversity over seeds, log2 of after over before",
            group=_PARTS[part],
            change=mean["value"],
            low=mean["low"],
            high=mean["high"],
            pictures=mean["total"],
            share=False,
        )
    pairs = damage.get("in_prompt")
    if pairs:
        yield Row(
            measure="distance to the prompt without the concept",
            group="with the concept",
            before=pairs["base"]["value"],
            after=pairs["audited"]["value"],
            change=pairs["change"]["value"],
            low=pairs["change"]["low"],
            high=pairs["change"]["high"],
            pictures=pairs["change"]["total"],
            share=False,
        )


def _of_kernel(kernel: Mapping[str, Any] | None) -> Iterator[Row]:
    if kernel is not None:
        yield Row(
            measure="kernel distance to the base, in units of its own between seeds",
            group=_PARTS["kept"],
            change=kernel["units"],
            low=kernel["low"],
            high=kernel["high"],
            share=False,
        )
