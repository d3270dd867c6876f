"""The benchmark's plot: how far from retraining each method is, against the time it takes."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from erasure.storage.files import atomic
from pipelines.classifiers.bench.bench_table import Row
from pipelines.classifiers.bench.page.bench_layout import panel
from pipelines.classifiers.bench.presets import RETRAIN
from pipelines.drawing.layout.glyphs import escaped
from pipelines.drawing.layout.label_places import LETTER, place_labels
from pipelines.drawing.layout.sheets import ACCENT, INK, LINE, MUTED, PAPER

_PANEL: Final = (5.6, 4.2)
"""Inches."""
_COLUMNS: Final = 3
_DPI: Final = 150
_BLUE: Final = "#2f6f9f"
_OWN: Final = "hollow diamonds: methods with a training run of their own"


def plot_gap_against_time(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG with a panel a setting.

    A dot is a method: its Avg Gap of the means over seeds, and its mean run time on a logarithmic
    axis. A whisker is the deviation of the gap over seeds. The dashed line is the time of
    retraining. SalUn and its controls are in the accent colour. A hollow diamond is a method with a
    training run of its own.
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
    if any(row.own_training and row.gap is not None for row in rows):
        figure.supxlabel(_OWN, color=MUTED, fontsize=9)
    with atomic(path) as part:
        figure.savefig(part, format="png", dpi=_DPI)


def _panel(axes: Axes, setting: str, rows: Sequence[Row]) -> None:
    axes.set_facecolor(PAPER)
    axes.set_title(escaped(setting), color=INK, fontsize=11, loc="left")
    axes.set_xlabel("run time (s)", color=MUTED)
    axes.set_ylabel("Avg Gap to retraining (points)", color=MUTED)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.tick_params(colors=MUTED, labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    scatter = panel(rows)
    if scatter is None:
        return
    _logarithmic(axes, scatter.fastest, scatter.slowest)
    axes.set_ylim(scatter.bottom, scatter.top)
    for dot in scatter.dots:
        if dot.row.method == RETRAIN:
            axes.axvline(dot.seconds, color=MUTED, linestyle="--", linewidth=1)
            continue
        colour = ACCENT if dot.row.method.startswith("salun") else _BLUE
        bar = 0.0 if dot.row.seed_gap is None else dot.row.seed_gap.deviation
        own = dot.row.own_training
        axes.errorbar(
            dot.seconds,
            dot.gap,
            bar,
            fmt="D" if own else "o",
            color=colour,
            ecolor=LINE,
            markersize=6,
            markerfacecolor=PAPER if own else colour,
        )
    for label in place_labels(scatter.labels):
        rightward = label.left > label.dot[0]
        axes.annotate(
            label.text,
            label.dot,
            (label.left + (0 if rightward else LETTER[0] * len(label.text)), label.middle),
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


def _logarithmic(axes: Axes, low: float, high: float) -> None:
    """An axis of time with as many ticks as can be read."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if high / low > 30 else (1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
