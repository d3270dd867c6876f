"""The forward process, against diffusers' own schedulers."""

import pytest
import torch
from diffusers import DDPMScheduler
from tiny import seeded

from erasure.errors import CheckpointError
from erasure.schedule import NoiseSchedule
from erasure.stable_diffusion import noise_schedule

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CONFIGS = {
    "sd": SD,
    "linear": {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"},
    "cosine": {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 100},
    "zero snr": {**SD, "rescale_betas_zero_snr": True},
}
SHAPE = (8, 4, 3, 3)


def draw(steps: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x_0, noise = torch.randn(2, *SHAPE, generator=seeded())
    t = torch.randint(steps, SHAPE[:1], generator=seeded(1))
    t[0], t[1] = 0, steps - 1
    return x_0, noise, t


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_noising_equals_the_scheduler_of_diffusers(config: dict[str, object]) -> None:
    # Parity fact 7: q_sample is the scheduler's add_noise, for the published betas and others.
    scheduler = DDPMScheduler(**config)
    x_0, noise, t = draw(scheduler.config.num_train_timesteps)
    ours = noise_schedule(config).add_noise(x_0, noise, t)
    torch.testing.assert_close(ours, scheduler.add_noise(x_0, noise, t), rtol=0, atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_velocity_target_equals_that_of_diffusers(config: dict[str, object]) -> None:
    scheduler = DDPMScheduler(**config)
    x_0, noise, t = draw(scheduler.config.num_train_timesteps)
    ours = noise_schedule({**config, "prediction_type": "v_prediction"}).target(x_0, noise, t)
    torch.testing.assert_close(ours, scheduler.get_velocity(x_0, noise, t), rtol=0, atol=1e-6)


def test_both_follow_their_formulas() -> None:
    # abar = 0.64: signal 0.8, spread 0.6.
    level, t = torch.tensor([0.64]), torch.zeros(1, dtype=torch.int64)
    x_0, noise = torch.tensor([[3.0]]), torch.tensor([[-2.0]])
    plain, velocity = NoiseSchedule(level), NoiseSchedule(level, "v_prediction")
    torch.testing.assert_close(plain.add_noise(x_0, noise, t), torch.tensor([[2.4 - 1.2]]))
    torch.testing.assert_close(velocity.target(x_0, noise, t), torch.tensor([[-1.6 - 1.8]]))
    assert plain.target(x_0, noise, t) is noise


def test_keys_of_other_schedulers_are_passed_over() -> None:
    config = {**SD, "_class_name": "DDIMScheduler", "steps_offset": 1, "set_alpha_to_one": False}
    assert torch.equal(
        noise_schedule(config).alphas_cumprod, DDPMScheduler(**SD).alphas_cumprod.float()
    )


def test_noise_follows_the_type_of_the_latents() -> None:
    x_0, noise, t = draw(1000)
    schedule = noise_schedule({**SD, "prediction_type": "v_prediction"})
    assert schedule.add_noise(x_0.double(), noise.double(), t).dtype == torch.float64
    assert schedule.target(x_0.bfloat16(), noise.bfloat16(), t).dtype == torch.bfloat16


def test_a_model_that_predicts_pictures_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"prediction_type is 'sample'.*can be edited"):
        noise_schedule({**SD, "prediction_type": "sample"})
