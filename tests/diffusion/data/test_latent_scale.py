"""Latents of an autoencoder and those of a denoiser: there and back, by hand."""

import pytest
import torch
from torch import Tensor

from erasure.diffusion.data.latent_scale import DEFAULT_FACTOR, LatentScale, latent_scale


def latents(*channels: float) -> Tensor:
    return torch.tensor(channels)[None, :, None, None]


def test_one_shift_and_one_factor_hold_for_all_channels() -> None:
    scale = LatentScale(factor=2.0, shift=0.5)
    mean, std = scale.posterior(latents(1.5, -0.5), latents(3.0, 4.0))
    assert mean.flatten().tolist() == [2.0, -2.0]
    assert std.flatten().tolist() == [6.0, 8.0]  # a shift spreads nothing
    assert scale.decodable(mean).flatten().tolist() == [1.5, -0.5]


def test_each_channel_has_its_own_mean_and_deviation() -> None:
    scale = LatentScale(factor=0.5, mean=(1.0, 2.0), deviation=(4.0, 0.25))
    mean, std = scale.posterior(latents(9.0, 3.0), latents(8.0, 1.0))
    assert mean.flatten().tolist() == [8 * 0.5 / 4, 1 * 0.5 / 0.25]
    assert std.flatten().tolist() == [1.0, 2.0]
    assert scale.decodable(mean).flatten().tolist() == [9.0, 3.0]


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, LatentScale()),
        ({"scaling_factor": None, "shift_factor": None}, LatentScale(factor=DEFAULT_FACTOR)),
        ({"scaling_factor": 1.5, "shift_factor": 0.1}, LatentScale(factor=1.5, shift=0.1)),
        (
            {"scaling_factor": 1.0, "latents_mean": [0.5], "latents_std": [2.0]},
            LatentScale(1.0, (0.5,), (2.0,)),
        ),
    ],
)
def test_a_config_says_its_scale(config: dict[str, object], wanted: LatentScale) -> None:
    assert latent_scale(config) == wanted
