"""Gradients that add up in main memory give the scores of those that stay on the device."""

from collections.abc import Iterable

import pytest
import torch
from support.tiny import Toy, ToyDenoiser, toy_data, toy_schedule
from torch import Tensor, nn

from erasure.checkpoints import Checkpoint
from erasure.diffusion.edit import find_mask
from erasure.diffusion.latents import ConceptData
from erasure.diffusion.measuring import measure_saliency
from erasure.diffusion.offload import OffloadedGradients
from erasure.diffusion.saliency import SaliencyConfig, accumulate_gradients, saliency_scores
from erasure.masks.mask_file import mask_hash


def test_the_scores_have_the_same_bits_and_no_gradient_stays() -> None:
    network, data = Toy(), toy_data()
    weights = dict(network.named_parameters())
    config = SaliencyConfig(draws=2, batch_size=2)

    def measure() -> None:
        passes = accumulate_gradients(
            ToyDenoiser(network), data, toy_schedule(), config, device=torch.device("cpu")
        )
        assert len(list(passes)) > 1

    measure()
    wanted = saliency_scores(network, weights)
    offloaded = OffloadedGradients(weights)
    measure()
    assert all(weight.grad is None for weight in weights.values())
    scores = offloaded.scores()
    assert {name: score.tolist() for name, score in scores.items()} == {
        name: score.tolist() for name, score in wanted.items()
    }
    measure()
    assert all(weight.grad is not None for weight in weights.values())  # the hooks are off


def test_a_weight_without_a_gradient_scores_zero_and_others_have_the_size_of_their_sum() -> None:
    layer, unused = nn.Linear(3, 2, dtype=torch.bfloat16), nn.Parameter(torch.ones(4))
    offloaded = OffloadedGradients({"weight": layer.weight, "unused": unused})
    for sign in (1, 1, -1):
        (sign * layer(torch.ones(1, 3, dtype=torch.bfloat16)).sum()).backward()
    scores = offloaded.scores()
    assert scores["unused"].tolist() == [0, 0, 0, 0]
    assert scores["weight"].dtype == torch.float32
    assert scores["weight"].tolist() == [[1, 1, 1], [1, 1, 1]]


class _Doubling:
    """A team of two that have the same gradients."""

    rank, count = 0, 2

    def sum_(self, tensors: Iterable[Tensor], /) -> None:
        for tensor in tensors:
            tensor.mul_(2)

    def wait(self) -> None:
        pass


def test_signed_sums_are_added_up_before_their_size_is_taken() -> None:
    weight = nn.Parameter(torch.zeros(3))
    offloaded = OffloadedGradients({"w": weight})
    (weight * torch.tensor([1.0, -2.0, 3.0])).sum().backward()
    assert offloaded.scores(_Doubling())["w"].tolist() == [2, 4, 6]


def test_a_mask_is_the_same_with_and_without(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData
) -> None:
    plain, other = (
        find_mask(tiny_checkpoint, tiny_data, config=SaliencyConfig(offload=offload))
        for offload in (False, True)
    )
    assert mask_hash(plain) == mask_hash(other)


@pytest.mark.gpu
def test_on_a_device_the_sums_lie_in_main_memory(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData
) -> None:
    names = list(tiny_checkpoint.network)
    scores = [
        measure_saliency(
            tiny_checkpoint,
            tiny_data,
            names,
            SaliencyConfig(offload=offload),
            device=torch.device("cuda"),
        )
        for offload in (False, True)
    ]
    for name in names:
        assert scores[1][name].device.type == "cpu"
        torch.testing.assert_close(scores[0][name].cpu(), scores[1][name])
