"""The figure of `mask_figure.py`: what is left of a concept against the damage."""

import csv
from pathlib import Path
from typing import Any, Final

from mask_page import Rows, groups_of, mean_of, page_of, share_of, texts_of
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from erasure.storage.files import atomic
from pipelines.drawing.layout.sheets import ACCENT, INK, LINE, MUTED, PAPER

_COLUMNS: Final = (
    "concept",
    "seed",
    "density",
    "rate",
    "mask",
    "left",
    "of",
    "unknown",
    "probability",
    "recognised",
    "others",
    "damage",
    "forget_loss",
    "retain_loss",
    "selected",
    "moved",
    "cpu_seconds",
    "model",
    "version",
)
LOOKS: Final = {"salient": (ACCENT, "o"), "random": ("#2f6f9f", "s"), "inverse": ("#8a8f98", "^")}


def write_figure(rows: Rows, folder: Path) -> None:
    """Write a picture, a table and a page, whose sentences are counted from the rows.

    They are `mask.png`, `mask.csv` and `mask.md`, and `mask-flow.png` and so on of the flow model.

    Raises:
        SystemExit: there is no row yet.
    """
    if not rows:
        raise SystemExit("there is no row yet; measure some cells first")
    name = texts_of(rows)["name"]
    rows = sorted(rows, key=lambda row: [row[name] for name in _COLUMNS[:5]])
    with atomic(folder / f"{name}.csv") as part, part.open("w", newline="") as file:
        table = csv.DictWriter(file, _COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    with atomic(folder / f"{name}.png") as part:
        _figure(rows).savefig(part, format="png")
    with atomic(folder / f"{name}.md") as part:
        part.write_text(page_of(rows), encoding="utf-8")


def _figure(rows: Rows) -> Figure:
    """A panel a concept (down) and density (across), a line a mask, a point a rate."""
    concepts = sorted({row["concept"] for row in rows})
    densities = sorted({row["density"] for row in rows}, reverse=True)
    figure = Figure(
        figsize=(max(8.0, 1.2 + 2.7 * len(densities)), 0.9 + 2.6 * len(concepts)),
        dpi=150,
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
        facecolor=PAPER,
    )
    panels = figure.subplots(
        len(concepts), len(densities), sharex="col", sharey=True, squeeze=False
    )
    for down, concept in enumerate(concepts):
        for across, density in enumerate(densities):
            axes = panels[down][across]
            cells = [r for r in rows if (r["concept"], r["density"]) == (concept, density)]
            _panel(axes, cells, f"{concept}, {100 * density:g} % of the weights")
    handles = {
        label: line for axes in panels.flat for line, label in zip(*_legend(axes), strict=True)
    }
    shown = [mask for mask in LOOKS if mask in handles]
    figure.legend(
        [handles[mask] for mask in shown],
        [f"{mask} mask" for mask in shown],
        loc="outside upper right",
        ncols=len(shown),
        frameon=False,
        labelcolor=INK,
    )
    figure.supylabel("pictures of the concept still recognised", color=MUTED, fontsize=10)
    figure.supxlabel(
        "damage: root mean square change of other objects' pixels, of 1; a larger point is a "
        f"higher rate ({', '.join(f'{rate:g}' for rate in sorted({r['rate'] for r in rows}))})",
        color=MUTED,
        fontsize=10,
    )
    return figure


def _legend(axes: Axes) -> tuple[list[Any], list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    return list(handles), list(labels)


def _panel(axes: Axes, rows: Rows, title: str) -> None:
    """Lines join the rates of a mask, in order, mean over its seeds; a faint point is a seed."""
    plain_axes(axes)
    axes.set_ylim(-0.04, 1.06)
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axes.set_title(title, color=INK, fontsize=10)
    for (mask,), cells in groups_of(rows, "mask").items():
        colour, marker = LOOKS[mask]
        points = [
            (mean_of(same, "damage"), share_of(same), rate)
            for (rate,), same in groups_of(cells, "rate").items()
        ]
        x, y, rates = zip(*points, strict=True)
        axes.plot(x, y, color=colour, marker=marker, markersize=0, linewidth=1.6, label=mask)
        axes.scatter(x, y, [_size(rate) for rate in rates], color=colour, marker=marker)
        if len({row["seed"] for row in cells}) > 1:
            each = [(row["damage"], row["left"] / row["of"]) for row in cells]
            axes.scatter(*zip(*each, strict=True), s=8, color=colour, marker=marker, alpha=0.35)


def plain_axes(axes: Axes) -> None:
    """The look of every panel: paper, two sides, a faint grid below what is drawn."""
    axes.set_facecolor(PAPER)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(color=LINE, labelcolor=INK, labelsize=9)
    axes.grid(color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)


def _size(rate: float) -> float:
    """Area of a point of the chart, in square points."""
    return 22.0 * (rate / 2e-4) ** 0.7
