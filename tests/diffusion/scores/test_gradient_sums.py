"""Gradients that add up elsewhere, or for a part of the weights at a time, give the same scores."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from support.tiny import Toy, ToyDenoiser, toy_data, toy_schedule
from torch import Tensor, nn

from erasure.checkpoints import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.mask_finding import find_mask
from erasure.diffusion.scores.gradient_sums import GradientSums, SumsIn, in_groups
from erasure.diffusion.scores.measuring import measure_scores
from erasure.diffusion.scores.saliency import (
    Pass,
    SaliencyConfig,
    accumulate_gradients,
    saliency_scores,
)
from erasure.diffusion.scores.summing import Measuring
from erasure.errors import ConfigError, DiskError
from erasure.masks.mask_file import mask_hash
from erasure.masks.overlap import overlap
from erasure.methods import SalUn
from erasure.storage.parts import parts_in


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
    offloaded = GradientSums(weights, SumsIn("main", {}))
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
    offloaded = GradientSums({"weight": layer.weight, "unused": unused})
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
    offloaded = GradientSums({"w": weight})
    (weight * torch.tensor([1.0, -2.0, 3.0])).sum().backward()
    assert offloaded.scores(_Doubling())["w"].tolist() == [2, 4, 6]


WAYS = {
    "main memory": {"offload": True},
    "a file": {"mapped": True},
    "two groups": {"groups": 2},
    "five groups, finished ones in a file": {"groups": 5, "mapped": True},
    "more groups than weights": {"groups": 10_000},
    "what a block made computed anew": {"checkpointing": True},
}


@pytest.mark.crossed
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("precision", ["fp32", "bf16-weights"])
def test_a_mask_is_the_same_however_its_sums_are_made(
    way: dict[str, Any],
    precision: str,
    tiny_checkpoint: Checkpoint,
    tiny_data: ConceptData,
    tmp_path: Path,
) -> None:
    alike: dict[str, Any] = {"batch_size": 2, "precision": precision}
    names = list(tiny_checkpoint.network)
    plain, other = (
        measure_scores(
            tiny_checkpoint,
            tiny_data,
            names,
            Measuring(config=SaliencyConfig(**alike, **more), scratch=tmp_path),
        )
        for more in ({}, way)
    )
    assert list(plain) == list(other) == names
    for name, score in plain.items():
        assert score.dtype == other[name].dtype == torch.float32
        assert torch.equal(score, other[name]), name
    assert sum(int(score.count_nonzero()) for score in plain.values()) > 1000
    assert list(tmp_path.iterdir()) == []  # a file of sums has no name


@pytest.mark.default("offload")
@pytest.mark.parametrize(
    "way",
    [{"groups": 3}, {"mapped": True}, {"offload": True}],
    ids=["groups", "mapped", "offload"],
)
def test_the_own_loss_of_a_method_is_measured_the_same_way(
    way: dict[str, Any], tiny_checkpoint: Checkpoint, tiny_data: ConceptData
) -> None:
    method = SalUn(steps=2, batch_size=2)
    plain, other = (
        find_mask(
            tiny_checkpoint,
            tiny_data,
            density=0.2,
            method=method,
            config=SaliencyConfig(loss="own", batch_size=2, **more),
        )
        for more in ({}, way)
    )
    assert mask_hash(plain) == mask_hash(other)


def test_masks_of_bf16_and_of_fp32_weights_agree_in_most_of_what_they_select(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData
) -> None:
    wide, narrow = (
        find_mask(
            tiny_checkpoint, tiny_data, density=0.1, config=SaliencyConfig(precision=precision)
        )
        for precision in ("fp32", "bf16-weights")
    )
    whole = overlap(wide, narrow).whole
    # A gradient in bf16 has 8 bits, and the order of the scores needs hardly more than their size.
    assert 0.7 < whole.iou < 1


def test_progress_of_groups_goes_once_from_the_beginning_to_the_end(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData
) -> None:
    seen: list[Pass] = []
    names = list(tiny_checkpoint.network)
    config = SaliencyConfig(groups=3, batch_size=1)
    measure_scores(tiny_checkpoint, tiny_data, names, Measuring(config=config, on_pass=seen.append))
    done = [progress.done for progress in seen]
    assert len(done) == 3 * len(tiny_data.forget)
    assert done == sorted(done)
    assert done[-1] == seen[-1].total == len(tiny_data.forget)


def test_a_group_s_pass_wants_gradients_of_its_own_weights_alone(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[set[str]] = []
    init = GradientSums.__init__

    def noting(self: GradientSums, weights: dict[str, nn.Parameter], *more: Any) -> None:  # noqa: ANN401
        held.append({name for name, weight in weights.items() if weight.requires_grad})
        init(self, weights, *more)

    monkeypatch.setattr(GradientSums, "__init__", noting)
    names = list(tiny_checkpoint.network)
    measure_scores(tiny_checkpoint, tiny_data, names, Measuring(config=SaliencyConfig(groups=3)))
    assert len(held) == 3
    assert set().union(*held) == set(names)
    assert sum(map(len, held)) == len(names)


def test_groups_are_runs_of_names_of_about_the_same_size() -> None:
    sizes = {"a": 5, "b": 1, "c": 4, "d": 2, "e": 3}
    assert in_groups(sizes, 1) == [["a", "b", "c", "d", "e"]]
    assert in_groups(sizes, 2) == [["a", "b"], ["c", "d", "e"]]
    assert in_groups(sizes, 3) == [["a"], ["b", "c"], ["d", "e"]]
    assert in_groups(sizes, 99) == [["a"], ["b", "c"], ["d", "e"]]
    assert in_groups({}, 3) == []


def test_two_places_for_the_same_sums_are_refused() -> None:
    for more in ({"groups": 2}, {"mapped": True}):
        with pytest.raises(ConfigError, match="give one of them"):
            SaliencyConfig(offload=True, **more)
    with pytest.raises(ConfigError, match="groups is 0"):
        SaliencyConfig(groups=0)


def test_a_folder_without_room_for_the_sums_is_refused_before_a_pass(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, tmp_path: Path
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=10)
    seen: list[Pass] = []
    with (
        patch("erasure.storage.disk.shutil.disk_usage", return_value=full),
        pytest.raises(DiskError, match="sums needs"),
    ):
        measure_scores(
            tiny_checkpoint,
            tiny_data,
            list(tiny_checkpoint.network),
            Measuring(config=SaliencyConfig(mapped=True), scratch=tmp_path, on_pass=seen.append),
        )
    assert seen == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
def test_on_a_device_the_sums_lie_in_main_memory(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData
) -> None:
    names = list(tiny_checkpoint.network)
    scores = [
        measure_scores(
            tiny_checkpoint,
            tiny_data,
            names,
            Measuring(config=SaliencyConfig(offload=offload), device=torch.device("cuda")),
        )
        for offload in (False, True)
    ]
    for name in names:
        assert scores[1][name].device.type == "cpu"
        torch.testing.assert_close(scores[0][name].cpu(), scores[1][name])


def test_what_is_killed_while_it_takes_the_room_of_a_file_leaves_it_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def look(*_: object) -> None:
        seen.extend(parts_in(tmp_path, "sums"))

    monkeypatch.setattr(os, "posix_fallocate", look)
    SumsIn("file", {"w": 8}, tmp_path)
    assert len(seen) == 1
    assert list(tmp_path.iterdir()) == []
