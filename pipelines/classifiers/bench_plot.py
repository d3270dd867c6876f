"""The benchmark's plot: how far from retraining each method is, against the time it takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from erasure.files import atomic
from pipelines.classifiers.bench_table import Row
from pipelines.classifiers.presets import RETRAIN
from pipelines.sheets import ACCENT, INK, LINE, MUTED, PAPER

_PANEL: Final = (5.6, 4.2)
"""Inches."""
_COLUMNS: Final = 3
_DPI: Final = 150
_BLUE: Final = "#2f6f9f"
_LABEL: Final = (0.0185, 0.05)
"""Width of a letter and height of a line of a label, as shares of the panel."""
_SHIFTS: Final = tuple(step * sign for step in range(12) for sign in (1, -1))
"""Lines up or down to try for a label."""


@dataclass(frozen=True, slots=True)
class Label:
    """Where a dot's name goes, all in shares of the panel."""

    text: str
    dot: tuple[float, float]
    left: float
    middle: float

    def hits(self, other: "Label") -> bool:
        """Whether the two names, or this name and the other's dot, lie on each other."""
        width, height = _LABEL
        apart = (
            self.left >= other.left + width * len(other.text)
            or other.left >= self.left + width * len(self.text)
            or abs(self.middle - other.middle) >= height
        )
        x, y = other.dot
        on_dot = self.left - 0.01 <= x <= self.left + width * len(self.text)
        return not apart or (on_dot and abs(y - self.middle) < 0.8 * height)


def plot_gap_against_time(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG with a panel a setting.

    A dot is a method: its Avg Gap of the means over seeds, and its mean run time on a logarithmic
    axis. A whisker is the deviation of the gap over seeds. The dashed line is the time of
    retraining. SalUn and its controls are in the accent colour.
    """
    settings = list(dict.fromkeys(row.setting for row in rows))
    across = min(_COLUMNS, len(settings))
    down = math.ceil(len(settings) / across)
    figure = Figure(
        figsize=(_PANEL[0] * across, _PANEL[1] * down),
        facecolor=PAPER,
        layout=ConstrainedLayoutEngine(),
    )
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for axes, setting in zip(panels, settings, strict=False):
        _panel(axes, setting, [row for row in rows if row.setting == setting])
    for axes in panels[len(settings) :]:
        axes.set_axis_off()
    with atomic(path) as part:
        figure.savefig(part, format="png", dpi=_DPI)


def place_labels(dots: Sequence[tuple[str, float, float]]) -> list[Label]:
    """Names to the right of their dots, or left at the edge, moved up or down until none collide.

    Args:
        dots: name, and place in shares of the panel.
    """
    placed: list[Label] = []
    marks = [Label("", (x, y), x, y) for _, x, y in dots]
    for text, x, y in sorted(dots, key=lambda dot: dot[2]):
        width = _LABEL[0] * len(text)
        left = x + 0.02 if x + 0.02 + width <= 1 else x - 0.02 - width
        tries = [
            Label(text, (x, y), left, y + shift * _LABEL[1])
            for shift in _SHIFTS
            if 0.02 <= y + shift * _LABEL[1] <= 0.98
        ]
        others = [*placed, *(mark for mark in marks if mark.dot != (x, y))]
        free = (label for label in tries if not any(label.hits(other) for other in others))
        placed.append(next(free, Label(text, (x, y), left, y)))
    return placed


def _panel(axes: Axes, setting: str, rows: Sequence[Row]) -> None:
    axes.set_facecolor(PAPER)
    axes.set_title(setting, color=INK, fontsize=11, loc="left")
    axes.set_xlabel("run time (s)", color=MUTED)
    axes.set_ylabel("Avg Gap to retraining (points)", color=MUTED)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.tick_params(colors=MUTED, labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    shown = {row.method: (_seconds(row), row.gap) for row in rows if row.gap is not None}
    if not shown:
        return
    whiskers = {row.method: row.seed_gap.deviation for row in rows if row.seed_gap is not None}
    low = min(seconds for seconds, _ in shown.values()) / 1.4
    high = max(seconds for seconds, _ in shown.values()) * 1.4
    top = 1.12 * max(0.5, max(gap for _, gap in shown.values()))
    _logarithmic(axes, low, high)
    axes.set_ylim(-0.04 * top, top)
    dots = []
    for method, (seconds, gap) in shown.items():
        across = math.log(seconds / low) / math.log(high / low)
        if method == RETRAIN:
            axes.axvline(seconds, color=MUTED, linestyle="--", linewidth=1)
        else:
            colour = ACCENT if method.startswith("salun") else _BLUE
            bar = whiskers.get(method, 0.0)
            axes.errorbar(seconds, gap, bar, fmt="o", color=colour, ecolor=LINE, markersize=6)
        dots.append((method, across, (gap + 0.04 * top) / (1.04 * top)))
    for label in place_labels(dots):
        rightward = label.left > label.dot[0]
        axes.annotate(
            label.text,
            label.dot,
            (label.left + (0 if rightward else _LABEL[0] * len(label.text)), label.middle),
            xycoords="axes fraction",
            textcoords="axes fraction",
            ha="left" if rightward else "right",
            va="center",
            fontsize=9,
            color=MUTED if label.text == RETRAIN else INK,
            arrowprops=None
            if abs(label.middle - label.dot[1]) < 0.01
            else {"arrowstyle": "-", "color": LINE, "linewidth": 0.8},
        )


def _seconds(row: Row) -> float:
    return max(row.scores["seconds"].mean, 1e-3)


def _logarithmic(axes: Axes, low: float, high: float) -> None:
    """An axis of time with as many ticks as can be read."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if high / low > 30 else (1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
