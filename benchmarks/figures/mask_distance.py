"""Which mask comes nearest to a model that never saw the concept? A figure of benchmark tables.

    python benchmarks/figures/mask_distance.py TABLE.json... --out docs/mask_distance.png

Each file is the `table.json` of an `erasure bench` with `--masks`, `--densities`, `--retrained` and
`--twin`. A panel a method and concept: above, in how many of its pictures the concept is still
recognised; below, the distance of the noise predictions to the retrained model (D2) in units of
base and twin. Bars are the intervals of the table, or the extremes of its seeds.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from mask_plot import LOOKS, plain_axes
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from erasure.storage.files import atomic
from pipelines.drawing.layout.sheets import INK, MUTED, PAPER

_ALL: Final = 1.0
"""Share of the weights where there is no mask."""


class Point(NamedTuple):
    """A row of a table."""

    method: str
    concept: str
    mask: str
    density: float
    values: Mapping[str, Any]


def main() -> None:
    """Draw the rows of all files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tables = [json.loads(path.read_text(encoding="utf-8")) for path in options.tables]
    points = [point for table in tables for point in points_of(table)]
    if not points:
        raise SystemExit("no table has a row with a mask and a distance D2; give --retrained to it")
    bases = {concept: d2 for table in tables for concept, d2 in bases_of(table)}
    with atomic(options.out) as part:
        figure_of(points, bases).savefig(part, format="png")


def points_of(table: Mapping[str, Any]) -> Iterator[Point]:
    """The rows of methods that have a distance."""
    for line in table["lines"]:
        if line["kind"] == "method" and "d2" in line["values"]:
            share = _ALL if line["mask"] == "all" else line["density"]
            yield Point(line["row"], line["concept"], line["mask"], share, line["values"])


def bases_of(table: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Concept and the base's own distance."""
    for line in table["lines"]:
        if line["kind"] == "base" and "d2" in line["values"]:
            yield line["concept"], line["values"]["d2"]["value"]


def figure_of(points: Sequence[Point], bases: Mapping[str, float]) -> Figure:
    """Two panels a method and concept, one above the other."""
    pairs = list(dict.fromkeys((point.method, point.concept) for point in points))
    figure = Figure(
        figsize=(1.4 + 3.2 * len(pairs), 6.0),
        dpi=150,
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
        facecolor=PAPER,
    )
    panels = figure.subplots(2, len(pairs), sharex=True, sharey="row", squeeze=False)
    shares = sorted({point.density for point in points})
    handles: dict[str, Any] = {}
    for across, (method, concept) in enumerate(pairs):
        own = [point for point in points if (point.method, point.concept) == (method, concept)]
        left, far = panels[0][across], panels[1][across]
        for axes in (left, far):
            plain_axes(axes)
            axes.set_xscale("log")
        left.set_title(f"{method}, {concept}", color=INK, fontsize=10)
        left.set_ylim(-0.04, 1.06)
        left.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        far.set_xticks(shares, [f"{100 * share:g} %" for share in shares])
        far.minorticks_off()
        for mask in LOOKS:
            line = sorted((point for point in own if point.mask == mask), key=lambda p: p.density)
            if line:
                handles[mask] = _draw(left, mask, line, "ua")
                _draw(far, mask, line, "d2")
        whole = [point for point in own if point.mask == "all"]
        if whole:
            handles["all weights"] = _draw(left, "all", whole, "ua")
            _draw(far, "all", whole, "d2")
        if concept in bases:
            line = far.axhline(bases[concept], color=MUTED, linestyle="--", linewidth=1)
            handles["the base"] = line
        handles["two seeds"] = far.axhline(1, color=MUTED, linestyle=":", linewidth=1)
        far.set_ylim(bottom=0)
    panels[0][0].set_ylabel("pictures of the concept\nstill recognised", color=MUTED)
    panels[1][0].set_ylabel("distance to the model that\nnever saw it (D2)", color=MUTED)
    figure.supxlabel("share of the weights that may move", color=MUTED, fontsize=10)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper right",
        ncols=len(handles),
        frameon=False,
        labelcolor=INK,
    )
    return figure


def _draw(axes: Axes, mask: str, line: Sequence[Point], key: str) -> Any:  # noqa: ANN401
    """A mask's values over the share of the weights; of UA what it is short of 100 %."""
    colour, marker = LOOKS.get(mask, (INK, "D"))
    values = [point.values[key] for point in line]
    middle = [value["value"] for value in values]
    low = [value["low"] if value["low"] is not None else value["value"] for value in values]
    high = [value["high"] if value["high"] is not None else value["value"] for value in values]
    if key == "ua":
        middle, low, high = ([1 - v for v in each] for each in (middle, high, low))
    bars = [
        [max(0.0, m - bottom) for m, bottom in zip(middle, low, strict=True)],
        [max(0.0, top - m) for m, top in zip(middle, high, strict=True)],
    ]
    shares = [point.density for point in line]
    return axes.errorbar(
        shares, middle, bars, color=colour, marker=marker, markersize=5, linewidth=1.6, capsize=2
    )


if __name__ == "__main__":
    main()
