"""How sure a kernel distance is: the variance of the estimate, also where the sets are equal."""

# N pictures of D features after, M before.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

MOST: Final = 4096
"""Pictures of a set that are looked at; the parts of the variance are the same for more."""
_ENTRIES: Final = 2**23
"""Kernel values held at a time, 64 MB."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Sums over the kernel values between two sets, or of one set without its diagonal."""

    rows: Tensor
    """(N,) sums of each row."""
    columns: Tensor
    """(M,)"""
    squares: float
    """Sum of the squares of all values."""


def kernel_variance(after: Tensor, before: Tensor, *, seed: int = 0) -> float:
    """Variance of the unbiased squared maximum mean discrepancy over all N and M pictures.

    It is the sum of Hoeffding's parts: 4 s_x / N + 4 s_y / M, which vanish where both sets come
    from one distribution, and 2 v_xx / (N (N - 1)) + 2 v_yy / (M (M - 1)) + 4 v_xy / (N M), which
    do not. s are the variances of the mean kernel value of one picture, v those of what is left of
    the kernel when rows and columns are centred; each is estimated without bias, and an s that
    comes out below 0 is 0.

    Args:
        after: (N, D), N of 4 or more.
        before: (M, D), M of 4 or more.
        seed: decides which pictures are looked at where there are more than `MOST`.

    Source: W. Hoeffding, Ann. Math. Stat. 19 (1948) 293; the kernel (x . y / D + 1)^3 of
        arXiv:1801.01401; unbiased centring of a set with itself as in G. J. Székely and
        M. L. Rizzo, Ann. Stat. 42 (2014) 2382.
    """
    draw = torch.Generator().manual_seed(seed)
    x, y = (_some(rows, draw) for rows in (after, before))
    # A constant in the kernel changes nothing but rounding: it is taken out.
    middle = float(_kernel(x[:64], y[:64]).mean())
    xx, yy = (_block(rows, rows, middle, same=True) for rows in (x, y))
    xy = _block(x, y, middle, same=False)
    n, m = len(x), len(y)
    v_xx, v_yy, v_xy = _within(xx, n), _within(yy, m), _across(xy, n, m)
    s_x = float((xx.rows / (n - 1) - xy.rows / m).var()) - v_xx / (n - 1) - v_xy / m
    s_y = float((yy.rows / (m - 1) - xy.columns / n).var()) - v_yy / (m - 1) - v_xy / n
    full_n, full_m = len(after), len(before)
    return (
        4 * max(0.0, s_x) / full_n
        + 4 * max(0.0, s_y) / full_m
        + 2 * v_xx / (full_n * (full_n - 1))
        + 2 * v_yy / (full_m * (full_m - 1))
        + 4 * v_xy / (full_n * full_m)
    )


def paired_kernel_distance(after: Tensor, before: Tensor) -> tuple[float, float]:
    """Unbiased squared maximum mean discrepancy of pictures that were drawn pair by pair from the
    same prompt and seed, and its variance.

    Two pictures of one seed resemble each other whatever the models are, so between the sets the
    pairs themselves are left out; with them the estimate lies below 0 where nothing differs, by
    several of its own errors. The variance is Hoeffding's for one sample of pairs.

    Args:
        after: (N, D), N of 4 or more.
        before: (N, D), row n of the prompt and seed of `after`'s row n.

    Source: A. Gretton et al., JMLR 13 (2012) 723, lemma 6, whose estimate leaves the pairs out.
    """
    x, y = after.detach().double().cpu(), before.detach().double().cpu()
    n, across = len(x), _kernel(x, y)
    values = _kernel(x, x) + _kernel(y, y) - across - across.T
    values.fill_diagonal_(0)
    rows = values.sum(1)
    left = _within(_Block(rows, rows, float(values.square().sum())), n)
    alone = float((rows / (n - 1)).var()) - left / (n - 1)
    variance = 4 * max(0.0, alone) / n + 2 * left / (n * (n - 1))
    return float(rows.sum()) / (n * (n - 1)), variance


def _some(rows: Tensor, draw: torch.Generator) -> Tensor:
    if len(rows) > MOST:
        rows = rows[torch.randperm(len(rows), generator=draw)[:MOST]]
    return rows.double()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    value: Tensor = (x @ y.T / x.shape[1] + 1) ** 3
    return value


def _block(x: Tensor, y: Tensor, middle: float, *, same: bool) -> _Block:
    rows, columns, squares = [], torch.zeros(len(y), dtype=x.dtype), 0.0
    for start, values in _parts(x, y, middle):
        if same:
            values.diagonal(start).zero_()
        rows.append(values.sum(1))
        columns += values.sum(0)
        squares += float(values.square().sum())
    return _Block(torch.cat(rows), columns, squares)


def _parts(x: Tensor, y: Tensor, middle: float) -> Iterator[tuple[int, Tensor]]:
    """Rows of the kernel, (B, M), and the number of the first, a bounded number at a time."""
    size = max(1, _ENTRIES // len(y))
    for start in range(0, len(x), size):
        yield start, _kernel(x[start : start + size], y) - middle


def _within(block: _Block, n: int) -> float:
    """Mean square of the centred kernel over the pairs of one set, without bias."""
    total = float(block.rows.sum())
    centred = block.squares - 2 * float(block.rows.square().sum()) / (n - 2)
    return max(0.0, (centred + total * total / ((n - 1) * (n - 2))) / (n * (n - 3)))


def _across(block: _Block, n: int, m: int) -> float:
    """Mean square of the centred kernel over the pairs of two sets, without bias."""
    total = float(block.rows.sum())
    centred = block.squares - float(block.rows.square().sum()) / m
    centred += total * total / (n * m) - float(block.columns.square().sum()) / n
    return max(0.0, centred / ((n - 1) * (m - 1)))
