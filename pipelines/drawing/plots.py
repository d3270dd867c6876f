"""Charts of a run: its losses by step, what a judge saw, and where in the model its mask lies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from erasure.masks.mask_report import DensityRow
from erasure.storage.files import atomic
from erasure.training.step import Step
from erasure.training.unseen import Curve
from pipelines.drawing.layout.sheets import ACCENT, INK, LINE, MUTED, PAPER

_BLUE: Final = "#2f6f9f"
_PALE: Final = "#9dbcd3"
_COUNT: Final = EngFormatter(places=1)
_BELOW: Final = 0.03
"""How far the axis goes below the loss that a tenth of the steps do not reach, as a factor."""
_DPI: Final = 150
_WIDTH: Final = 8.0
"""Inches."""


def plot_losses(history: Sequence[Step], path: Path, *, trained: bool = True) -> None:
    """Write a PNG of the forget and retain losses and their sum against the step.

    Faint lines are the losses themselves, strong ones a centred mean over about a tenth of the
    run. The axis is logarithmic where no loss is negative and they spread over a factor of 30, as
    the two parts often differ by more; it ends a little below the usual values of the smaller
    part. A loss that is zero but for rounding, as the first one towards the base's own prediction
    is, comes in from below the frame. Values that are not finite leave gaps.

    Args:
        history: the steps, in order.
        path: where the PNG goes.
        trained: whether one step goes on where the last one ended. A closed form solves one weight
            matrix after the other: its losses are points, as a line between two would show a course
            that there is not.
    """
    figure, axes = _chart(4.2)
    steps = np.array([step.index for step in history])
    parts = {
        "total": (INK, np.array([step.loss for step in history], dtype=float)),
        "retain": (_BLUE, np.array([step.retain for step in history], dtype=float)),
        "forget": (ACCENT, np.array([step.forget for step in history], dtype=float)),
    }
    shown = []
    for name, (colour, raw) in parts.items():
        if name != "total" and np.isnan(raw).all():
            continue
        raw[~np.isfinite(raw)] = np.nan
        if trained:
            smooth = smoothed(raw, max(1, len(raw) // 10))
            style = "--" if name == "total" else "-"
            marker = "o" if len(raw) < 10 else ""
            axes.plot(steps, raw, color=colour, alpha=0.22, linewidth=0.8)
            axes.plot(steps, smooth, style, color=colour, linewidth=1.8, label=name, marker=marker)
        else:
            axes.plot(steps, raw, "o", color=colour, markersize=4, label=name)
        shown.append(raw[np.isfinite(raw)])
    lowest = _lowest(shown)
    if lowest is not None:
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(bottom=lowest)
        axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_xlabel("step" if trained else "step or weight matrix, in order", color=MUTED)
    axes.set_ylabel("loss", color=MUTED)
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=3,
        frameon=False,
        labelcolor=INK,
        fontsize=10,
    )
    _save(figure, path)


def plot_looks(curve: Curve, path: Path) -> None:
    """Write a PNG of what a judge saw in the course of a training, against the step.

    Shares of pictures: those of the concept in which it is recognised, the neighbours that are
    taken for something else, and how far the neighbours' pixels are from what they were. A line
    stands at the state that was kept, where the looks ended the training.
    """
    figure, axes = _chart(4.2)
    steps = [look.step for look in curve.looks]
    lines = {
        "concept recognised": (ACCENT, [look.recognised / look.shown for look in curve.looks]),
        "change of the neighbours' pixels": (MUTED, [look.distance for look in curve.looks]),
    }
    if all(look.changed is not None for look in curve.looks):
        changed = [(look.changed or 0) / look.neighbours for look in curve.looks]
        lines["neighbours taken for something else"] = (_BLUE, changed)
    for name, (colour, shares) in lines.items():
        axes.plot(steps, shares, color=colour, linewidth=1.8, marker="o", label=name)
    if curve.result is not None:
        axes.axvline(curve.result, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label="result")
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_xlabel("step", color=MUTED)
    above: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2}
    axes.legend(**above, frameon=False, labelcolor=INK, fontsize=10)
    _save(figure, path)


def _lowest(parts: Sequence[NDArray[np.float64]]) -> float | None:
    """Where a logarithmic axis of these losses begins; None where it would not help."""
    values = np.concatenate(parts)
    if not values.size or values.min() < 0 or values.max() <= 30 * values.min():
        return None
    usual = [np.sort(p)[min(max(1, len(p) // 10), len(p) - 1)] for p in parts if p.size]
    return max(float(values.min()) / 1.5, _BELOW * float(min(usual))) or None


def smoothed(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean over the `window` values around each, over fewer at the ends; NaN where one is NaN.

    Args:
        values: (N,), NaN where there is none.
        window: made odd by adding one if need be.
    """
    half = window // 2
    there = np.isfinite(values)
    sums = np.concatenate(([0.0], np.cumsum(np.where(there, values, 0.0))))  # (N + 1,)
    counts = np.concatenate(([0], np.cumsum(there)))  # (N + 1,)
    first = np.maximum(np.arange(len(values)) - half, 0)
    last = np.minimum(np.arange(len(values)) + half + 1, len(values))
    within = np.maximum(counts[last] - counts[first], 1)
    return np.where(there, (sums[last] - sums[first]) / within, np.nan)


def plot_density(rows: Sequence[DensityRow], path: Path, *, overall: float) -> None:
    """Write a PNG of bars, one a block from top to bottom: the share of its weights in the mask.

    Args:
        rows: such as `MaskReport.blocks`, in the order to draw.
        path: where the PNG goes.
        overall: share of all weights in the mask, drawn as a line; denser blocks stand out.
    """
    figure, axes = _chart(min(1.3 + 0.32 * len(rows), 60.0))
    places = range(len(rows))
    colours = [ACCENT if row.density > overall else _PALE for row in rows]
    end = min(1.0, 1.08 * max([overall, *(row.density for row in rows)])) or 1.0
    axes.barh(places, [row.density for row in rows], height=0.7, color=colours)
    axes.axvline(overall, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_yticks(places, [row.part for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, end)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=" %"))
    axes.set_xlabel("weights in the mask", color=MUTED)
    side = "left" if overall < 0.12 * end else "right" if overall > 0.88 * end else "center"
    above: dict[str, Any] = {
        "transform": axes.get_xaxis_transform(),
        "va": "bottom",
        "fontsize": 10,
    }
    axes.text(overall, 1.0, f"all weights {_percent(overall)}", ha=side, color=INK, **above)
    _column(axes, 1.13, "in mask", [_percent(row.density) for row in rows])
    counts = [str(row.total) if row.total < 1000 else _COUNT(row.total) for row in rows]
    _column(axes, 1.28, "weights", counts)
    _save(figure, path)


def _column(axes: Axes, right: float, heading: str, cells: Sequence[str]) -> None:
    """Text beside the bars, one cell each; `right` counts in widths of the axes."""
    style: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "ha": "right", "fontsize": 10}
    for place, cell in enumerate(cells):
        axes.text(right, place, cell, va="center", color=INK, **style)
    axes.text(right, -0.6, heading, va="bottom", color=MUTED, **style)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _chart(height: float) -> tuple[Figure, Axes]:
    """An empty chart without the frame; no pyplot, so nothing stays open."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout=layout, facecolor=PAPER)
    axes = figure.add_subplot(facecolor=PAPER)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(which="both", color=LINE, labelcolor=INK, labelsize=10)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    with atomic(path) as part:
        figure.savefig(part, format="png")
