"""The directions in which what is kept does not lie, on vectors whose answers are plain."""

import torch
from torch import Tensor

from erasure.solving.null_space import above_average, centres, perturbed, split


def columns(*vectors: list[float]) -> Tensor:
    return torch.tensor(vectors, dtype=torch.float64).T


def test_the_threshold_is_one_of_the_mean_outer_product_however_many_are_kept() -> None:
    # Four times half of e1: the mean of the outer products is 0.25 along e1.
    others = columns(*[[0.5, 0.0, 0.0]] * 4)
    above, below = split(others, 0.2), split(others, 0.3)
    assert above.held.abs().flatten().tolist() == [1.0, 0.0, 0.0]
    assert above.free.shape == (3, 2)
    assert torch.allclose(above.free[0], torch.zeros(2, dtype=torch.float64))
    assert (below.free.shape, below.held.shape) == ((3, 3), (3, 0))
    assert split(torch.zeros(3, 0, dtype=torch.float64), 0.1).free.shape == (3, 3)


def test_what_a_change_moves_more_than_the_mean_stays() -> None:
    vectors, change = columns([1.0, 0.0], [0.0, 1.0]), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    assert above_average(vectors, change.double()).T.tolist() == [[1.0, 0.0]]


def test_copies_lie_along_the_direction_that_the_weight_shrinks_most() -> None:
    vectors, weight = columns([1.0, 2.0], [3.0, 4.0]), torch.tensor([[5.0, 0.0], [0.0, 0.1]])
    copies = perturbed(vectors, weight.double(), 3, seed=0)
    assert torch.allclose(copies[0], vectors[0].repeat(3))
    lengths = copies[1] - vectors[1].repeat(3)
    assert lengths.abs().min() > 0
    assert len(lengths.unique()) == 6


def test_centres_are_the_means_of_groups_and_equal_points_count_once() -> None:
    points = torch.tensor([[0.0], [1.0], [1.0], [1.0], [10.0], [12.0]], dtype=torch.float64)
    assert sorted(centres(points, 2, seed=0).flatten().tolist()) == [0.5, 11.0]
    assert len(centres(points[1:4], 3, seed=0)) == 1
