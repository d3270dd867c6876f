"""The variance of a kernel distance against its terms by hand and against repetitions."""

import math

import pytest
import torch
from torch import Tensor

from eval.metrics import kernel_variance as module
from eval.metrics.kernel_variance import kernel_variance


def distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy over all pictures."""
    xx, yy, xy = ((a @ b.T / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    inside = [(k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    return float(sum(inside) - 2 * xy.mean())


def repeated(n: int, m: int, shift: float, times: int = 150) -> tuple[Tensor, Tensor]:
    """Values and standard errors of that many pairs of sets, `shift` apart."""
    draw = torch.Generator().manual_seed(0)
    sets = [
        [torch.rand(k, 8, generator=draw, dtype=torch.float64) for k in (n, m)]
        for _ in range(times)
    ]
    values = torch.tensor([distance(x + shift, y) for x, y in sets])
    return values, torch.tensor([kernel_variance(x + shift, y) for x, y in sets]).sqrt()


@pytest.mark.parametrize(
    ("n", "m", "shift"), [(60, 60, 0.0), (120, 40, 0.0), (60, 60, 0.1), (40, 80, 0.5)]
)
def test_the_standard_error_is_the_deviation_over_repetitions(n: int, m: int, shift: float) -> None:
    # Where the sets are equal the old rule, the deviation of halves, was 1.7 to 1.8 times too wide.
    # 150 repetitions leave 6 % in a deviation; what comes out below 0 and is cut adds up to 20 %.
    values, errors = repeated(n, m, shift)
    assert 0.85 < float(errors.mean() / values.std()) < 1.35


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_intervals_cover_the_distance_as_often_as_they_say(shift: float) -> None:
    values, errors = repeated(60, 60, shift)
    truth = 0.0 if shift == 0 else float(values.mean())  # Unbiased: the mean of 150 is near it.
    assert float(((values - truth).abs() <= 1.96 * errors).double().mean()) >= 0.9


def test_the_terms_are_those_of_their_definition() -> None:
    draw = torch.Generator().manual_seed(1)
    x, y = (torch.randn(n, 3, generator=draw, dtype=torch.float64) for n in (7, 5))
    xx, yy, xy = ((a @ b.T / 3 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))

    def inside(k: Tensor) -> float:
        n = len(k)
        k = k - torch.diag(k.diagonal())
        row = k.sum(1)
        a = k - row[:, None] / (n - 2) - row[None] / (n - 2) + k.sum() / ((n - 1) * (n - 2))
        return float((a.square().sum() - a.diagonal().square().sum()) / (n * (n - 3)))

    across = xy - xy.mean(1, keepdim=True) - xy.mean(0, keepdim=True) + xy.mean()
    v_xx, v_yy, v_xy = inside(xx), inside(yy), float(across.square().sum()) / (6 * 4)
    means = [
        (xx.sum(1) - xx.diagonal()) / 6 - xy.mean(1),
        (yy.sum(1) - yy.diagonal()) / 4 - xy.mean(0),
    ]
    s_x = max(0.0, float(means[0].var()) - v_xx / 6 - v_xy / 5)
    s_y = max(0.0, float(means[1].var()) - v_yy / 4 - v_xy / 7)
    wanted = 4 * s_x / 7 + 4 * s_y / 5 + 2 * v_xx / 42 + 2 * v_yy / 20 + 4 * v_xy / 35
    assert kernel_variance(x, y) == pytest.approx(wanted, rel=1e-9)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(2)
    x, y = torch.randn(23, 4, generator=draw), torch.randn(17, 4, generator=draw)
    whole = kernel_variance(x, y)
    monkeypatch.setattr(module, "_ENTRIES", 50)
    assert kernel_variance(x, y) == pytest.approx(whole, rel=1e-9)


def test_many_pictures_are_judged_by_a_part_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(3)
    x, y = (torch.rand(600, 4, generator=draw) + shift for shift in (0.0, 0.5))
    whole = kernel_variance(x, y)
    monkeypatch.setattr(module, "MOST", 300)
    # A part of 300 leaves some 12 % in a variance.
    assert math.sqrt(kernel_variance(x, y)) == pytest.approx(math.sqrt(whole), rel=0.2)
    assert kernel_variance(x, y, seed=1) != kernel_variance(x, y)
