"""An optimiser has the settings that were asked for: its steps, worked out by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from erasure.training.optimizers import make_optimizer
from erasure.training.train_config import TrainConfig


def walked(settings: TrainConfig, gradients: list[float]) -> float:
    """Where a weight of 1 is after a step by each gradient."""
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = make_optimizer(settings, [weight], settings.learning_rate)
    for gradient in gradients:
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
    return float(weight.detach())


def test_sgd_has_the_momentum_and_the_decay_that_were_asked_for() -> None:
    plain = TrainConfig(optimizer="sgd", learning_rate=0.5, momentum=0.0)
    assert walked(plain, [0.2, 0.0]) == pytest.approx(1 - 0.5 * 0.2)
    # v2 = 0.6 * 0.2, and the weight moves by the rate times both.
    pushed = replace(plain, momentum=0.6)
    assert walked(pushed, [0.2, 0.0]) == pytest.approx(1 - 0.5 * 0.2 - 0.5 * 0.12)
    # The decay adds 0.1 w to the gradient.
    assert walked(replace(plain, weight_decay=0.1), [0.2]) == pytest.approx(1 - 0.5 * 0.3)


def test_adamw_decays_beside_its_step_and_adam_within_it() -> None:
    settings = TrainConfig(optimizer="adamw", learning_rate=0.01, weight_decay=0.5)
    # The first step of Adam is the rate itself; AdamW shrinks the weight by rate times decay first.
    assert walked(settings, [0.2]) == pytest.approx(1 - 0.01 * 0.5 - 0.01, abs=1e-8)
    assert walked(replace(settings, optimizer="adam"), [0.2]) == pytest.approx(0.99, abs=1e-8)
