"""The quadratic problem in its small system, against brute force."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny import seeded
from torch import Tensor

from erasure.errors import ConfigError
from erasure.solving.factors import joined, thinned
from erasure.solving.quadratic import Quadratic


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def brute_force(problem: Quadratic, residual: Tensor, free: Tensor) -> Tensor:
    """Least squares of each row's free weights, written as one tall system and solved by QR."""
    right = torch.zeros(len(residual), problem.vectors.shape[1], dtype=torch.float64)
    right[:, : problem.edited] = residual
    change = torch.zeros(free.shape, dtype=torch.float64)
    for row, chosen in enumerate(free):
        columns = torch.eye(len(chosen), dtype=torch.float64)[:, chosen]
        tall = torch.cat([problem.vectors.T @ columns, problem.ridge**0.5 * columns])
        wanted = torch.cat([right[row], torch.zeros(len(chosen), dtype=torch.float64)])
        if chosen.any():
            change[row] = columns @ torch.linalg.lstsq(tall, wanted[:, None]).solution[:, 0]
    return change


@settings(deadline=None)
@given(
    rows=st.integers(1, 5),
    width=st.integers(1, 9),
    count=st.integers(1, 14),
    seed=st.integers(0, 99),
)
def test_every_row_is_the_best_of_those_that_leave_the_frozen_weights_alone(
    rows: int, width: int, count: int, seed: int
) -> None:
    edited = 1 + seed % count
    problem = Quadratic(random(width, count, seed=seed), edited, 0.3)
    residual = random(rows, edited, seed=seed + 1)
    free = torch.rand(rows, width, generator=seeded(seed + 2)) < 0.6
    free[0] = True  # one row that shares the factor of the whole
    change = problem.change(residual, free)
    # Normal equations square a condition number below 1e4: eight of sixteen digits are left.
    torch.testing.assert_close(change, brute_force(problem, residual, free), rtol=1e-8, atol=1e-8)
    assert (change[~free] == 0).all()


def test_without_a_ridge_rows_with_fewer_free_weights_than_vectors_have_their_best_too() -> None:
    problem = Quadratic(random(12, 6, seed=1), 2, 0.0)
    residual, free = random(3, 2, seed=2), torch.zeros(3, 12, dtype=torch.bool)
    free[0, [1, 4]], free[1, [0, 2, 3, 5, 8, 9, 10]], free[2] = True, True, True
    change = problem.change(residual, free)
    torch.testing.assert_close(change[:2], brute_force(problem, residual, free)[:2])
    assert (change[~free] == 0).all()
    torch.testing.assert_close(change[2:] @ problem.vectors[:, :2], residual[2:])  # met exactly


def test_without_a_ridge_features_that_say_the_same_leave_a_row_open() -> None:
    vectors = random(4, 6, seed=1)
    vectors[1] = 3 * vectors[0]
    free = torch.tensor([[True, True, False, False]])
    with pytest.raises(ConfigError, match="leave directions open; give a ridge above 0"):
        Quadratic(vectors, 2, 0.0).change(random(1, 2, seed=2), free)


@pytest.mark.parametrize(("width", "count"), [(40, 3), (5, 30)])
def test_both_forms_of_the_masked_system_are_taken_and_agree_with_brute_force(
    width: int, count: int
) -> None:
    problem = Quadratic(random(width, count, seed=1), 2, 0.1)
    residual, free = random(50, 2, seed=2), torch.rand(50, width, generator=seeded(3)) < 0.5
    change = problem.change(residual, free)
    torch.testing.assert_close(change, brute_force(problem, residual, free), rtol=1e-8, atol=1e-8)


def test_many_more_vectors_than_features_ask_for_no_system_of_their_size() -> None:
    many = 200_000  # squared they are 320 GB
    vectors = torch.randn(4, many, dtype=torch.float64, generator=seeded())
    residual = torch.randn(2, 3, dtype=torch.float64, generator=seeded(1))
    free = torch.tensor([[True, False, True, True], [True, True, False, False]])
    change = Quadratic(vectors, edited=3, ridge=0.5).change(residual, free)
    for row, columns in zip(change, free, strict=True):
        assert bool((row[~columns] == 0).all())
        assert float(row[columns].abs().min()) > 0


def test_without_a_mask_it_equals_the_large_system() -> None:
    vectors, residual = random(12, 7, seed=0), random(4, 3, seed=1)
    problem = Quadratic(vectors, 3, 0.5)
    outer = vectors @ vectors.T + 0.5 * torch.eye(12, dtype=torch.float64)
    wanted = torch.linalg.solve(outer, (residual @ vectors[:, :3].T).T).T
    torch.testing.assert_close(problem.change(residual), wanted, rtol=1e-12, atol=1e-12)


def test_the_change_is_a_product_of_as_many_directions_as_there_are_edited_vectors() -> None:
    problem, residual = Quadratic(random(30, 9, seed=0), 4, 0.5), random(20, 4, seed=1)
    thin = thinned(residual, problem.down)
    assert thin.up.shape == (20, 4)
    torch.testing.assert_close(thin.change(), problem.change(residual), rtol=1e-12, atol=1e-12)
    twice = joined([thin, thin])
    assert twice.up.shape == (20, 4)
    torch.testing.assert_close(twice.change(), 2 * thin.change(), rtol=1e-12, atol=1e-12)


def test_a_small_change_has_as_many_directions_as_a_large_one() -> None:
    thin = thinned(1e-14 * random(20, 2, seed=0), random(2, 10, seed=1))
    assert thin.up.shape == (20, 2)


def test_a_singular_system_says_which_vectors_coincide() -> None:
    vectors = random(10, 4, seed=0)
    vectors[:, 3] = 2 * vectors[:, 1]
    problem = Quadratic(vectors, 2, 0.0, ["a", "b", "c", "d"])
    with pytest.raises(ConfigError, match=r"b and d coincide; give a ridge above 0"):
        problem.change(random(3, 2, seed=1))
    free = torch.rand(3, 10, generator=seeded(2)) < 0.8
    with pytest.raises(ConfigError, match="b and d coincide"):
        problem.change(random(3, 2, seed=1), free)


def test_vectors_that_are_hardly_apart_coincide_too() -> None:
    # 3e-8 apart: the second pivot is 9e-16, above zero and nothing but rounding.
    vectors = torch.tensor([[1.0, 1.0], [0.0, 3e-8]], dtype=torch.float64)
    with pytest.raises(ConfigError, match="vector 0 and vector 1 coincide"):
        Quadratic(vectors, 1, 0.0).change(random(1, 1, seed=1))


def test_a_singular_system_names_the_vector_that_the_others_add_up_to() -> None:
    vectors = random(10, 4, seed=0)
    vectors[:, 2] = vectors[:, 0] + vectors[:, 1]
    with pytest.raises(ConfigError, match="c is made of those before it"):
        Quadratic(vectors, 1, 0.0, ["a", "b", "c", "d"]).change(random(3, 1, seed=1))


def test_without_a_ridge_independent_vectors_are_met_exactly() -> None:
    vectors, residual = random(10, 4, seed=0), random(3, 2, seed=1)
    change = Quadratic(vectors, 2, 0.0).change(residual)
    wanted = torch.cat([residual, torch.zeros(3, 2, dtype=torch.float64)], 1)
    torch.testing.assert_close(change @ vectors, wanted, rtol=1e-10, atol=1e-10)
