"""Networks without weights are built once for a config, and none shares anything with another."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from erasure.architectures.loading import loaded, unfilled


def test_a_network_is_built_once_and_every_caller_has_one_of_its_own() -> None:
    configs = []

    def build(config: Mapping[str, Any]) -> nn.Module:
        configs.append(config)
        return nn.Sequential(nn.Linear(config["width"], 2), nn.Dropout())

    weights = {"0.weight": torch.ones(2, 3), "0.bias": torch.zeros(2)}
    first = loaded(build, {"width": 3, "_class_name": "Any"}, weights, "unet")
    second = unfilled(build, {"width": 3})
    assert configs == [{"width": 3}]
    assert unfilled(build, {"width": 4})[0].weight.shape == (2, 4)
    assert torch.equal(first[0].weight, weights["0.weight"])
    assert second[0].weight.is_meta
    for network in (first, second):
        assert not any(module.training for module in network.modules())
        assert not any(weight.requires_grad for weight in network.parameters())


def test_a_network_whose_class_cannot_be_imported_is_built_each_time() -> None:
    class Own(nn.Linear):
        pass

    first, second = (unfilled(lambda _: Own(3, 2), {}) for _ in range(2))
    assert type(first) is type(second) is Own
    assert first.weight is not second.weight
