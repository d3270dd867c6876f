"""The curve of damage over rank, laid out in a square of 100 x 100, and how a value is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.evaluation.report.report_format import number, percent, signed


@dataclass(frozen=True, slots=True)
class DamageChart:
    """The change over the neighbours up to each rank."""

    path: str
    """Attribute `d` of an SVG path."""
    band: str
    """The same of its pointwise 95 % band, closed."""
    ticks: tuple[tuple[float, int], ...]
    """Place from 0 to 100, and rank."""
    levels: tuple[tuple[float, str], ...]
    """Place from 0 to 100, downwards, and the change in percent."""
    words: str
    """The same for those who cannot see it."""


def damage_chart(damage: Mapping[str, Any]) -> DamageChart | None:
    """Lay out the curve by the text encoder; None where there are not two ranks."""
    points = ((damage.get("neighbours") or {}).get("text") or {}).get("curve") or []
    if len(points) < 2:
        return None
    changes = [point["change"] for point in points]
    across = [100 * n / (len(points) - 1) for n in range(len(points))]
    top: float = max(0.1, *(change["high"] for change in changes))
    bottom: float = min(-0.1, *(change["low"] for change in changes))

    def down(value: float) -> float:
        return 100 * (top - value) / (top - bottom)

    def outline(name: str) -> list[str]:
        pairs = zip(across, changes, strict=True)
        return [f"{x:.2f} {down(change[name]):.2f}" for x, change in pairs]

    stride = max(1, len(points) // 8)
    return DamageChart(
        path="M" + "L".join(outline("value")),
        band="M" + "L".join((*outline("high"), *reversed(outline("low")))) + "Z",
        ticks=tuple(
            (x, point["rank"])
            for n, (x, point) in enumerate(zip(across, points, strict=True))
            if n % stride == 0
        ),
        levels=tuple((down(value), signed(value)) for value in (top, 0.0, bottom)),
        words="; ".join(
            f"up to rank {point['rank']}: {signed(change['value'])}"
            for point, change in zip(points, changes, strict=True)
        ),
    )


def value(one: float | None, share: bool, change: bool = False) -> str:
    """As it stands in the table; nothing for None."""
    if one is None:
        return ""
    if share:
        return signed(one) if change else percent(one)
    return number(one)
