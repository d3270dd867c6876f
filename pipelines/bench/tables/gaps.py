"""How far a row is from where it should be, share by share, and the order by the worst of these.

Where a retrained model is a row, every share should be as its own: an erased model that knows less
than one which never saw the concept is as wrong as one that knows more. Where there is none, the
concept should not be recognised, and all else be as the base draws it. No sum is taken: a method
that destroys the rest is not mended by a low cost, nor by a perfect erasure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pipelines.bench.tables.column import Value

KEPT: Final = ("ira", "cra", "ra", "neighbours")
"""Shares that should not fall."""
DESTROYED: Final = ("rejected", "rejected_rest")
"""Shares that should not rise."""
SHARES: Final = ("ua", *KEPT, *DESTROYED)


@dataclass(frozen=True, slots=True)
class Gap:
    """The distance of one share from where it should be."""

    column: str
    size: float
    """In [0, 1]; 0.01 is a point."""


def gaps_of(
    values: Mapping[str, Value],
    base: Mapping[str, Value] | None,
    retrained: Mapping[str, Value] | None,
) -> tuple[Gap, ...]:
    """All gaps that can be measured, largest first; of equal ones in the order of the columns.

    Args:
        values: of the row.
        base: of the base; without it and without a retrained model UA alone has a gap.
        retrained: of the retrained model, which then is what every share is held against.
    """
    gaps = [
        Gap(key, size)
        for key in SHARES
        if (size := _size(key, values, base, retrained)) is not None
    ]
    return tuple(sorted(gaps, key=lambda gap: -gap.size))


def lacking_of(
    values: Mapping[str, Value],
    base: Mapping[str, Value] | None,
    retrained: Mapping[str, Value] | None,
) -> tuple[str, ...]:
    """The shares that what a row is held against has and the row has not, as a part of it failed or
    no picture could be used. Its largest gap may be one of these."""
    held = retrained if retrained is not None else base or {}
    return tuple(
        key for key in SHARES if _share(held, key) is not None and _share(values, key) is None
    )


def _size(
    key: str,
    values: Mapping[str, Value],
    base: Mapping[str, Value] | None,
    retrained: Mapping[str, Value] | None,
) -> float | None:
    own = _share(values, key)
    if own is None:
        return None
    if retrained is not None:
        wanted = _share(retrained, key)
        return None if wanted is None else abs(own - wanted)
    if key == "ua":
        return 1.0 - own
    before = None if base is None else _share(base, key)
    if before is None:
        return None
    return max(0.0, before - own if key in KEPT else own - before)


def _share(values: Mapping[str, Value], key: str) -> float | None:
    there = values.get(key)
    return None if there is None else there.value
