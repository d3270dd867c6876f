"""What a column of the table is, what a cell has in it, and what a row has over its seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from eval.rates.intervals import Proportion, wilson
from pipelines.bench.sources import Sources

Unit = Literal["share", "count", "seconds", "bytes", "units", "words"]


@dataclass(frozen=True, slots=True)
class Value:
    """What one cell, or a row over its seeds, has in a column."""

    value: float | None
    low: float | None = None
    """Lower end of the 95 % interval of a share; the least over seeds of anything else."""
    high: float | None = None
    count: int | None = None
    """Pictures that count, of a share."""
    total: int | None = None
    said: str = ""
    """Words, where there is no number."""

    @classmethod
    def of_share(cls, share: Proportion | None) -> "Value | None":
        """A share of pictures; None where no picture can be used, or a file has no number."""
        if share is None or not isfinite(share.share):
            return None
        return cls(share.share, share.low, share.high, share.count, share.total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column."""

    key: str
    title: str
    about: str
    """One sentence."""
    unit: Unit
    better: Literal["higher", "lower"] | None = None
    every_seed: bool = False
    """Whether a row has a number only where each of its seeds has one."""
    says: bool = False
    """Whether a verdict in words stands beside its numbers."""
    read: Callable[[Sources], Value | None]
    """What a cell has; None where it has nothing of the kind."""
    beside: Callable[[Sources, str], Value | None] | None = None
    """What a method's cell has of a model of `UNERASED`, which was measured beside its own."""


def pooled(column: Column, values: Sequence[Value]) -> Value | None:
    """A row's value over its seeds: shares over all pictures, else the mean, with its extremes."""
    if not values:
        return None
    words = ", ".join(dict.fromkeys(one.said for one in values if one.said))
    if all(one.count is not None and one.total for one in values):
        share = wilson(sum(v.count or 0 for v in values), sum(v.total or 0 for v in values))
        return Value(share.share, share.low, share.high, share.count, share.total, words)
    numbers = [one.value for one in values if one.value is not None]
    if not numbers or (column.every_seed and len(numbers) < len(values)):
        return Value(None, said=words)
    mean = sum(numbers) / len(numbers)
    if len(values) == 1:
        return values[0]
    return Value(mean, min(numbers), max(numbers), said=words)
