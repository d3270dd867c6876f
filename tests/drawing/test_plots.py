"""The charts: what they show, and that they are written whole and leave nothing open."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from erasure.masks.mask_report import DensityRow
from erasure.training.step import Step
from pipelines.drawing import plots

ROWS = [DensityRow("in", 9, 10), DensityRow("mid", 250, 1000), DensityRow("out", 0, 0)]


def history(forget: list[float]) -> list[Step]:
    return [Step(n + 1, loss + 0.1, loss, 0.1) for n, loss in enumerate(forget)]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that would have been saved."""
    figures: list[Figure] = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: figures.append(figure))
    return figures


@given(
    values=st.lists(st.floats(-9, 9) | st.just(math.nan), max_size=30), window=st.integers(1, 40)
)
def test_smoothing_equals_a_slow_mean_of_the_neighbours(values: list[float], window: int) -> None:
    wanted = []
    for n, value in enumerate(values):
        near = values[max(0, n - window // 2) : n + window // 2 + 1]
        there = [v for v in near if not math.isnan(v)]
        wanted.append(math.nan if math.isnan(value) else sum(there) / len(there))
    # Differences of running sums of at most 30 values below 9: rounding near 1e-13.
    np.testing.assert_allclose(plots.smoothed(np.array(values, float), window), wanted, atol=1e-12)


def test_losses_show_three_named_lines_over_the_raw_ones(drawn: list[Figure]) -> None:
    plots.plot_losses(history([0.3, 0.2, 0.1]), Path("loss.png"))
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "total",
        "retain",
        "forget",
    ]
    assert len(axes.lines) == 6
    np.testing.assert_allclose(axes.lines[4].get_ydata(), [0.3, 0.2, 0.1])
    np.testing.assert_array_equal(axes.lines[4].get_xdata(), [1, 2, 3])


def test_losses_of_matrices_that_are_solved_by_themselves_are_points(drawn: list[Figure]) -> None:
    plots.plot_losses(history([0.3, 0.2, 0.1]), Path("loss.png"), trained=False)
    axes = drawn[0].axes[0]
    assert [line.get_linestyle() for line in axes.lines] == ["None"] * 3
    assert "weight matrix" in axes.get_xlabel()


@pytest.mark.parametrize(
    ("forget", "scale"),
    [([0.3, 0.2], "linear"), ([0.001, 0.002], "log"), ([-0.5, -3.0], "linear"), ([], "linear")],
)
def test_the_loss_axis_is_logarithmic_where_that_helps(
    drawn: list[Figure], forget: list[float], scale: str
) -> None:
    plots.plot_losses(history(forget), Path("loss.png"))
    assert drawn[0].axes[0].get_yscale() == scale


@pytest.mark.parametrize("forget", [[], [0.1], [0.1, math.inf, 0.2, math.nan], [0.001] * 40])
def test_losses_of_any_run_are_drawn(tmp_path: Path, forget: list[float]) -> None:
    plots.plot_losses(history(forget), tmp_path / "loss.png")
    with Image.open(tmp_path / "loss.png") as image:
        assert image.format == "PNG"
        assert image.size == (1200, 630)
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"]  # no `.part` stays


def test_density_bars_stand_in_order_beside_the_line_of_all_weights(drawn: list[Figure]) -> None:
    plots.plot_density(ROWS, Path("density.png"), overall=0.5)
    axes = drawn[0].axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.9, 0.25, 0.0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["in", "mid", "out"]
    assert axes.yaxis_inverted()
    assert list(axes.lines[0].get_xdata()) == [0.5, 0.5]
    assert axes.patches[0].get_facecolor() != axes.patches[1].get_facecolor()
    texts = {text.get_text() for text in axes.texts}
    assert {"all weights 50 %", "90 %", "25 %", "1.0 k", "10"} <= texts


@pytest.mark.parametrize("overall", [0.0, 0.5, 1.0])
def test_densities_of_any_mask_are_drawn(tmp_path: Path, overall: float) -> None:
    plots.plot_density(ROWS, tmp_path / "density.png", overall=overall)
    with Image.open(tmp_path / "density.png") as image:
        assert image.format == "PNG"
        assert image.width == 1200


def test_a_mask_without_blocks_is_drawn(tmp_path: Path) -> None:
    plots.plot_density([], tmp_path / "density.png", overall=0.0)
    assert (tmp_path / "density.png").is_file()


def test_nothing_stays_open(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    plots.plot_losses(history([0.1]), tmp_path / "loss.png")
    plots.plot_density(ROWS, tmp_path / "density.png", overall=0.5)
    assert plt.get_fignums() == []


def test_a_first_loss_of_rounding_does_not_stretch_the_axis(drawn: list[Figure]) -> None:
    usual = [1e-3, 2e-3, 3e-3, 2e-3]
    for first in (0.0, 1e-14):
        steps = [Step(1, 0.02 + first, 0.02, first)]
        steps += [Step(n + 2, 0.02 + loss, 0.02, loss) for n, loss in enumerate(usual)]
        plots.plot_losses(steps, Path("loss.png"))
        axes = drawn[-1].axes[0]
        assert axes.get_yscale() == "log"
        assert 1e-5 < axes.get_ylim()[0] < 1e-3
        assert axes.get_ylim()[1] < 0.1
