"""Sampling in latent space, against diffusers and by hand."""

import math

import pytest
import torch
from diffusers import DDIMScheduler
from support.tiny import Toy, ToyDenoiser, seeded, toy_condition, toy_schedule

from erasure.diffusion.sample import ddim, ddim_times, guided_answer, renewed_flow_step
from erasure.diffusion.schedule import NoiseSchedule, Prediction
from erasure.errors import ConfigError


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_it_is_the_sampler_of_diffusers(prediction: Prediction, steps: int) -> None:
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    schedule = NoiseSchedule(scheduler.alphas_cumprod, prediction)
    scheduler.set_timesteps(steps)
    assert ddim_times(schedule, steps).tolist() == scheduler.timesteps.tolist()
    network, condition = Toy(), toy_condition(rows=2)
    noise = torch.randn(2, 2, 4, 4, generator=seeded(3))
    with torch.no_grad():
        expected = noise
        for t in scheduler.timesteps:
            answer = network(expected, t.expand(2), condition.tokens)
            expected = scheduler.step(answer, t, expected, return_dict=False)[0]
        *_, clean = ddim(
            ToyDenoiser(network), schedule, ddim_times(schedule, steps), noise, condition
        )
    torch.testing.assert_close(clean, expected, rtol=1e-4, atol=1e-4)  # float32, up to 50 steps


def test_the_kth_latents_have_the_noise_level_of_the_kth_time() -> None:
    # A model that knows the noise leads along x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps.
    schedule = toy_schedule()
    times = ddim_times(schedule, 10)
    x_0, eps = torch.randn(2, 1, 2, 4, 4, generator=seeded(1))
    start = schedule.add_noise(x_0, eps, times[:1])
    condition = toy_condition(rows=1)
    path = list(ddim(lambda x, t, c: eps, schedule, times, start, condition))
    assert len(path) == 11
    for time, latents in zip(times, path, strict=False):
        torch.testing.assert_close(
            latents, schedule.add_noise(x_0, eps, time[None]), rtol=1e-3, atol=1e-4
        )


def test_guidance_of_one_asks_once_and_more_leads_away() -> None:
    network = Toy()
    denoise = ToyDenoiser(network)
    x_t, t = torch.randn(2, 2, 4, 4, generator=seeded(0)), torch.tensor([5, 9])
    towards, away = toy_condition(0, 2), toy_condition(1, 2)
    plain = network(x_t, t, towards.tokens)
    assert torch.equal(guided_answer(denoise, x_t, t, towards, away, 1.0), plain)
    without = network(x_t, t, away.tokens)
    torch.testing.assert_close(
        guided_answer(denoise, x_t, t, towards, away, 3.0), without + 3 * (plain - without)
    )


@pytest.mark.parametrize("steps", [0, 1000, -1])
def test_more_steps_than_times_are_refused(steps: int) -> None:
    with pytest.raises(ConfigError, match="sampling steps is"):
        ddim_times(toy_schedule(), steps)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("now", "after"), [(0.95, 0.6), (0.6, 0.3), (0.3, 0.05)])
def test_a_flow_with_fresh_noise_is_ddim_of_the_betas_that_it_is(
    eta: float, now: float, after: float
) -> None:
    x_s, velocity, fresh = torch.randn(3, 2, 1, 4, 4, generator=seeded(), dtype=torch.float64)
    scheduler = DDIMScheduler(num_train_timesteps=2, clip_sample=False)
    scheduler.set_timesteps(2)
    sizes = [math.hypot(1 - s, s) for s in (after, now)]  # of x_s of unit numbers
    levels = [((1 - s) / size) ** 2 for s, size in zip((after, now), sizes, strict=True)]
    scheduler.alphas_cumprod = torch.tensor(levels, dtype=torch.float64)
    noise = x_s + (1 - now) * velocity
    wanted = scheduler.step(noise, 1, x_s / sizes[1], eta=eta, variance_noise=fresh).prev_sample
    made = renewed_flow_step(x_s, velocity, now, after, eta=eta, fresh=fresh)
    torch.testing.assert_close(made, wanted * sizes[0])
    if eta == 0:
        torch.testing.assert_close(made, x_s + (after - now) * velocity)


def test_fresh_noise_of_a_flow_is_all_there_is_after_noise_alone_and_none_at_the_end() -> None:
    x_s, velocity, fresh = torch.randn(3, 2, 1, 4, 4, generator=seeded(), dtype=torch.float64)
    first = renewed_flow_step(x_s, velocity, 1.0, 0.9, eta=1.0, fresh=fresh)
    torch.testing.assert_close(first, 0.1 * (x_s - velocity) + 0.9 * fresh)
    last = renewed_flow_step(x_s, velocity, 0.1, 0.0, eta=1.0, fresh=fresh)
    torch.testing.assert_close(last, x_s - 0.1 * velocity)
