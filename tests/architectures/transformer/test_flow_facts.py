"""Facts of flow transformers: their times, scales and signs, each by numbers or by the library."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
)
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from support.tiny import seeded
from torch import Tensor

from erasure.architectures.registry import ARCHITECTURES
from erasure.architectures.text.t5_tower import tidy_names
from erasure.architectures.transformer.flux2 import Flux2Denoiser
from erasure.architectures.transformer.packing import packed
from erasure.architectures.transformer.qwen_image import QwenImageDenoiser
from erasure.checkpoints.description import shipped_description
from erasure.checkpoints.writing.modelspec import ModelSpec
from erasure.diffusion.data.latent_scale import latent_scale
from erasure.diffusion.denoiser import TOKENS, Condition
from erasure.diffusion.schedule import RectifiedFlow
from pipelines.planning.shapes import shapes_of

SHIFTS = {
    "sd3": 3.0,
    "sd35_medium": 3.0,
    "sd35_large": 3.0,
    "flux_dev": math.exp(1.15),
    "flux_schnell": 1.0,
}
"""m of the times in training, of the published configs that come with the package."""


def schedule_of_published(key: str) -> RectifiedFlow:
    schedule = ARCHITECTURES[key].schedule(shipped_description(key).scheduler)
    assert isinstance(schedule, RectifiedFlow)
    return schedule


# Times


@pytest.mark.parametrize("key", SHIFTS)
def test_training_has_the_shift_of_the_published_times(key: str) -> None:
    assert schedule_of_published(key).shift == pytest.approx(SHIFTS[key])


@pytest.mark.parametrize(
    ("side", "mu"), [(256, 0.5), (512, 0.63), (1024, 1.15)], ids=["256 px", "512 px", "1024 px"]
)
def test_drawing_with_flux_dev_is_shifted_by_the_size_of_the_picture(side: int, mu: float) -> None:
    size, config = (side // 8, side // 8), shipped_description("flux_dev").scheduler
    given_to_it = ARCHITECTURES["flux_dev"].sampling(config, 4, size)
    assert given_to_it["mu"] == pytest.approx(mu, abs=1e-9)
    assert given_to_it["mu"] == pytest.approx(calculate_shift((side // 16) ** 2))
    assert given_to_it["sigmas"] == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("key", ["sd3", "z_image"])
def test_a_shift_by_size_is_passed_on_where_another_family_s_config_asks_for_it(key: str) -> None:
    family = ARCHITECTURES[key]
    dynamic = {**shipped_description("sd3").scheduler, "use_dynamic_shifting": True}
    assert family.sampling(dynamic, 4, (64, 64))["mu"] == pytest.approx(0.63)
    assert family.schedule(dynamic) == RectifiedFlow(shift=math.exp(1.15))


def test_diffusers_shifts_the_low_end_of_sd3_twice_and_our_rollouts_once() -> None:
    config = shipped_description("sd3").scheduler
    assert ARCHITECTURES["sd3"].sampling(config, 4, (128, 128)) == {}
    scheduler: Any = FlowMatchEulerDiscreteScheduler.from_config(dict(config))
    scheduler.set_timesteps(4)
    drawn = torch.tensor([1.0, 0.8577, 0.6022, 0.0089, 0.0])
    torch.testing.assert_close(scheduler.sigmas, drawn, rtol=0, atol=5e-5)
    torch.testing.assert_close(scheduler.timesteps, 1000 * scheduler.sigmas[:-1])
    rolled = torch.tensor([1.0, 0.9, 0.75, 0.5])  # 3 s / (1 + 2 s) of 1, 3/4, 1/2, 1/4
    torch.testing.assert_close(schedule_of_published("sd3").levels(4), rolled)


# Scales and names of published models


@pytest.mark.parametrize("key", SHIFTS)
def test_published_latents_are_shifted_before_they_are_scaled(key: str) -> None:
    shift, factor = (0.1159, 0.3611) if key.startswith("flux") else (0.0609, 1.5305)
    config = shipped_description(key).components["vae"]
    assert config["latent_channels"] == 16
    assert not config["use_quant_conv"]
    assert not config["use_post_quant_conv"]
    mean, deviation = latent_scale(config).posterior(torch.tensor([1.0]), torch.tensor([2.0]))
    torch.testing.assert_close(mean, torch.tensor([(1 - shift) * factor]))
    torch.testing.assert_close(deviation, torch.tensor([2 * factor]))
    torch.testing.assert_close(latent_scale(config).decodable(mean), torch.tensor([1.0]))


STABILITY = "https://github.com/Stability-AI/generative-models"
FLUX = "https://github.com/black-forest-labs/flux"


@pytest.mark.parametrize(
    ("key", "architecture", "implementation"),
    [
        ("sd3", "stable-diffusion-3-m", STABILITY),
        ("sd35_medium", "stable-diffusion-3-5-medium", STABILITY),
        ("sd35_large", "stable-diffusion-3-5-large", STABILITY),
        ("flux_dev", "flux-1-dev", FLUX),
        ("flux_schnell", "flux-1-schnell", FLUX),
    ],
)
def test_a_single_file_is_called_as_other_trainers_call_it(
    key: str, architecture: str, implementation: str
) -> None:
    header = ModelSpec().to_header(shapes_of(key, None))
    assert header["modelspec.architecture"] == architecture
    assert header["modelspec.implementation"] == implementation
    assert header["modelspec.resolution"] == "1024x1024"
    assert "modelspec.prediction_type" not in header  # the standard has no word for velocities


def test_the_second_name_of_t5_s_table_is_left_out() -> None:
    one, other = torch.ones(2), torch.zeros(2)
    second = "encoder.embed_tokens.weight"
    assert tidy_names({second: one}) == {"shared.weight": one}
    assert tidy_names({second: one, "shared.weight": other}) == {"shared.weight": other}


# Signs and places


@dataclass
class Perfect:
    """Called as FLUX.2's and Qwen-Image's transformers are, it answers the true velocity."""

    answer: Tensor
    calls: list[Mapping[str, Any]]

    def __call__(self, **named: Any) -> tuple[Tensor]:  # noqa: ANN401
        self.calls.append(named)
        return (self.answer,)


def test_a_perfect_flux2_is_told_s_and_its_places_and_answers_noise_less_picture() -> None:
    velocity, s = torch.randn(2, 16, 3, 2, generator=seeded()), torch.tensor([0.9, 0.1])
    network: Any = Perfect(velocity.flatten(2).transpose(1, 2), [])
    words = torch.zeros(2, 5, 24)
    assert torch.equal(Flux2Denoiser(network)(velocity, s, Condition({TOKENS: words})), velocity)
    (call,) = network.calls
    assert torch.equal(call["timestep"], s)
    assert torch.equal(call["img_ids"], Flux2KleinPipeline._prepare_latent_ids(velocity)[0])
    assert torch.equal(call["txt_ids"], Flux2KleinPipeline._prepare_text_ids(words)[0])
    assert call["img_ids"][3].tolist() == [0, 1, 1, 0]  # frame, row, column, place in the text
    assert call["txt_ids"][3].tolist() == [0, 0, 0, 3]
    assert torch.equal(call["hidden_states"][0, 3], velocity[0, :, 1, 1])


def test_a_perfect_qwen_image_is_told_s_and_answers_noise_less_picture() -> None:
    velocity, s = torch.randn(2, 4, 4, 6, generator=seeded()), torch.tensor([0.9, 0.1])
    network: Any = Perfect(packed(velocity), [])
    condition = Condition({TOKENS: torch.zeros(2, 5, 16)})
    assert torch.equal(QwenImageDenoiser(network)(velocity, s, condition), velocity)
    (call,) = network.calls
    assert torch.equal(call["timestep"], s)
    assert call["img_shapes"] == [[(1, 2, 3)]] * 2
    assert torch.equal(call["hidden_states"], packed(velocity))
