"""One loop for every training: in which order a step happens."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from erasure.training.loop import Ready, train
from erasure.training.step import Step


class Written:
    """A vector, and the values that a network would answer with."""

    def __init__(self) -> None:
        self.vectors = {"w": nn.Parameter(torch.tensor([1.0]))}
        self.answers_with = 1.0

    def write_back(self) -> None:
        self.answers_with = float(self.vectors["w"])


def test_what_is_changed_after_a_step_is_in_the_network_before_the_next() -> None:
    moving = Written()
    vector = moving.vectors["w"]
    seen: list[float] = []

    def batches() -> Iterator[Ready]:
        for index in (1, 2):
            assert vector.grad is None
            seen.append(moving.answers_with)
            vector.grad = torch.tensor([0.2])
            yield Ready(Step(index, 0.0), 0.5, lambda: vector.mul_(2))

    sgd = torch.optim.SGD([vector], lr=9.0)
    assert [step.index for step in train(moving, sgd, batches(), remedy="stop")] == [1, 2]
    # A step takes 0.5 * 0.2 off, and what comes after it doubles the rest.
    assert seen == pytest.approx([1.0, 1.8])
    assert moving.answers_with == pytest.approx(3.4)
