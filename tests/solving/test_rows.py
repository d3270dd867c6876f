"""The constrained quadratic of the closed forms, against brute force."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import seeded
from torch import Tensor

from erasure.errors import ConfigError
from erasure.solving.rows import solve_rows


def system_of(width: int, seed: int) -> Tensor:
    vectors = torch.randn(width, 2 * width, generator=seeded(seed), dtype=torch.float64)
    return vectors @ vectors.T + 0.1 * torch.eye(width, dtype=torch.float64)


def by_hand(system: Tensor, wanted: Tensor, free: Tensor) -> Tensor:
    """Solve the system of each row by itself, for the weights of the row that are free."""
    change = torch.zeros_like(wanted)
    for row, chosen in enumerate(free):
        if chosen.any():
            inner = system[chosen][:, chosen]
            change[row, chosen] = torch.linalg.solve(inner, wanted[row, chosen])
    return change


@given(rows=st.integers(1, 6), width=st.integers(1, 7), seed=st.integers(0, 99))
def test_every_row_is_the_best_among_those_that_leave_the_others_alone(
    rows: int, width: int, seed: int
) -> None:
    draw = seeded(seed + 1)
    system = system_of(width, seed)
    wanted = torch.randn(rows, width, generator=draw, dtype=torch.float64)
    free = torch.rand(rows, width, generator=draw) < 0.6
    free[0] = True  # one row that shares the factor of the whole
    change = solve_rows(system, wanted, free)
    # Float64 systems of a condition number below 1e4 lose four of sixteen digits.
    torch.testing.assert_close(change, by_hand(system, wanted, free), rtol=1e-9, atol=1e-9)
    assert (change[~free] == 0).all()

    def cost(d: Tensor) -> Tensor:
        return 0.5 * torch.trace(d @ system @ d.T) - torch.trace(d @ wanted.T)

    nudge = torch.where(free, torch.randn(free.shape, generator=draw, dtype=torch.float64), 0.0)
    for size in (1e-2, -1e-2):
        assert cost(change + size * nudge) >= cost(change)
    masked = torch.where(free, solve_rows(system, wanted), 0.0)
    assert cost(change) <= cost(masked) + 1e-12


def test_without_a_mask_it_is_the_plain_solution() -> None:
    system = system_of(5, 0)
    wanted = torch.randn(3, 5, generator=seeded(1), dtype=torch.float64)
    torch.testing.assert_close(solve_rows(system, wanted) @ system, wanted)


def test_a_singular_system_is_refused() -> None:
    with pytest.raises(ConfigError, match="ridge above 0"):
        solve_rows(torch.zeros(2, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64))
