"""Equal parts of the times of training, of discrete steps and of a flow."""

import math

import pytest
import torch
from support.tiny import seeded, toy_schedule
from torch import Tensor

from erasure.diffusion.schedule import NoiseSchedule, RectifiedFlow
from erasure.diffusion.time_parts import bounds, time_in
from erasure.errors import ConfigError


def test_each_part_of_a_flow_s_times_holds_as_many_of_those_that_training_draws() -> None:
    flow = RectifiedFlow(shift=3.0)
    generator = seeded()
    drawn = torch.cat([flow.draw(generator) for _ in range(4000)])
    for share in (0.2, 0.5, 0.9):
        assert float((drawn < flow.at(share)).float().mean()) == pytest.approx(share, abs=0.03)
    times = [[time_in(flow, part, 4, generator) for _ in range(50)] for part in range(4)]
    for part, each in enumerate(times):
        assert flow.at(part / 4) <= min(each) < max(each) <= flow.at((part + 1) / 4)


def test_the_bounds_of_a_flow_are_the_shifted_quantiles_of_a_logistic_of_a_normal() -> None:
    # s = m / (m + exp(-z)): the shift adds log m to the logit of s. A fifth of normal numbers z
    # lies below -0.8416, two fifths below -0.2533.
    normal = (-0.8416212335729143, -0.2533471031357997, 0.2533471031357997, 0.8416212335729143)
    wanted = [0, *(3 / (3 + math.exp(-z)) for z in normal), 1]
    assert bounds(RectifiedFlow(shift=3.0), 5) == pytest.approx(wanted)


def test_the_parts_of_discrete_steps_hold_as_many_of_them() -> None:
    assert bounds(toy_schedule(), 5) == (0, 200, 400, 600, 800, 1000)
    few = NoiseSchedule(torch.tensor([0.9, 0.5]))
    assert bounds(few, 3) == (0, 0, 1, 2)
    assert [time_in(few, part, 3, seeded()) for part in range(3)] == [0, 0, 1]


class Other:
    """Noises in its own way."""

    def draw(self, generator: torch.Generator) -> Tensor:
        raise AssertionError

    def add_noise(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        raise AssertionError

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        raise AssertionError


def test_times_without_a_known_order_are_refused() -> None:
    with pytest.raises(ConfigError, match="this model noises by Other; take a model of another"):
        time_in(Other(), 0, 5, seeded())
