"""Targets that are led away from a prediction mean the same in whatever a model predicts."""

import pytest
import torch
from support.tiny import seeded, toy_schedule
from torch import Tensor

from erasure.diffusion.schedule import RectifiedFlow
from erasure.methods.gradient.esd import shifted
from erasure.methods.gradient.leco import pulled

T = torch.tensor([1, 500, 990])
S = torch.tensor([0.02, 0.5, 0.97], dtype=torch.float64)


def drawn(count: int) -> Tensor:
    return torch.randn(count, 3, 2, 4, 4, generator=seeded(), dtype=torch.float64)


def of_velocity(x_t: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
    """The clean latents and the noise that a v-prediction amounts to."""
    return toy_schedule("v_prediction").split(x_t, predicted, T)


def of_flow(x_t: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
    """The same of a velocity eps - x_0 at x = (1 - s) x_0 + s eps."""
    s = S[:, None, None, None]
    return x_t - s * predicted, x_t + (1 - s) * predicted


@pytest.mark.parametrize("converted", [of_velocity, of_flow])
@pytest.mark.parametrize("strength", [-1.0, 0.0, 1.0, 2.5])
def test_a_shifted_velocity_is_the_velocity_of_shifted_noise(
    converted: type, strength: float
) -> None:
    x_t, empty, concept = drawn(3)
    for of_both, one, other in zip(
        converted(x_t, shifted(empty, concept, strength)),
        converted(x_t, empty),
        converted(x_t, concept),
        strict=True,
    ):
        torch.testing.assert_close(of_both, shifted(one, other, strength), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("converted", [of_velocity, of_flow])
def test_a_velocity_that_four_prompts_pull_is_that_of_pulled_noise(converted: type) -> None:
    x_t, *three = drawn(4)
    strength = torch.tensor([-1.0, 0.5, 2.0])
    kinds = zip(*(converted(x_t, one) for one in three), strict=True)
    made = converted(x_t, pulled(*three, strength))
    for of_all, each in zip(made, kinds, strict=True):
        torch.testing.assert_close(of_all, pulled(*each, strength), rtol=1e-6, atol=1e-6)


def test_a_flow_s_conversion_is_that_of_its_own_forward_process() -> None:
    x_0, noise = drawn(2)
    flow = RectifiedFlow()
    clean, eps = of_flow(flow.add_noise(x_0, noise, S), flow.target(x_0, noise, S))
    torch.testing.assert_close(clean, x_0)
    torch.testing.assert_close(eps, noise)
