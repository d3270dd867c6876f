"""Rectified flow: its formulas, its times, and a model of velocities trained on pictures."""

from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from support.tiny import (
    CPU,
    Toy,
    ToyDenoiser,
    seeded,
    some_mask,
    toy_condition,
    toy_data,
    toy_latents,
)
from torch import Tensor

from erasure.diffusion.batches import PictureBatches
from erasure.diffusion.data.latents import Draw, noised
from erasure.diffusion.sample import sampling_step
from erasure.diffusion.schedule import RectifiedFlow
from erasure.errors import ConfigError
from erasure.methods import SalUn
from erasure.seeds import generator_for
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.training.weights.selected import SelectedWeights


class FlowToy(Toy):
    """Takes times in (0, 1), as a flow transformer does."""

    def forward(self, x_t: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        assert t.dtype == torch.float32
        assert ((t > 0) & (t < 1)).all()
        return super().forward(x_t, 1000 * t, tokens)


def test_a_picture_moves_on_a_straight_line_to_its_noise() -> None:
    x_0, noise = torch.randn(2, 3, 2, 4, 4, generator=seeded(), dtype=torch.float64)
    s = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    x_s = RectifiedFlow().add_noise(x_0, noise, s)
    assert torch.equal(x_s[0], x_0[0])
    torch.testing.assert_close(x_s[1], 0.75 * x_0[1] + 0.25 * noise[1])
    assert torch.equal(x_s[2], noise[2])


def test_the_target_is_the_slope_of_that_line() -> None:
    flow = RectifiedFlow(shift=3.0)
    x_0, noise = torch.randn(2, 3, 2, 4, 4, generator=seeded(), dtype=torch.float64)
    early, late = (torch.full((3,), s, dtype=torch.float64) for s in (0.3, 0.7))
    moved = flow.add_noise(x_0, noise, late) - flow.add_noise(x_0, noise, early)
    torch.testing.assert_close(moved / 0.4, flow.target(x_0, noise, early))
    assert torch.equal(flow.target(x_0, noise, early), noise - x_0)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_noise_and_steps_are_those_of_the_scheduler_of_diffusers(shift: float) -> None:
    scheduler: Any = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(5)
    x_0, noise, velocity = torch.randn(3, 2, 2, 4, 4, generator=seeded())
    for now, after, t in zip(
        scheduler.sigmas[:-1].tolist(),
        scheduler.sigmas[1:].tolist(),
        scheduler.timesteps,
        strict=True,
    ):
        ours = RectifiedFlow().add_noise(x_0, noise, torch.full((2,), now))
        torch.testing.assert_close(ours, scheduler.scale_noise(x_0, t.expand(2), noise))
        stepped = scheduler.step(velocity, t, ours, return_dict=False)[0]
        torch.testing.assert_close(
            sampling_step(RectifiedFlow(), ours, velocity, now, after), stepped
        )


def test_the_noise_follows_the_type_of_the_latents() -> None:
    x_0, noise = torch.randn(2, 3, 2, 4, 4, generator=seeded()).bfloat16()
    assert RectifiedFlow().add_noise(x_0, noise, torch.full((3,), 0.5)).dtype == torch.bfloat16


def test_times_are_logit_normal_and_the_shift_moves_them_by_its_formula() -> None:
    normal = torch.cat([torch.randn(1, generator=seeded(n)) for n in range(500)])
    plain = torch.cat([RectifiedFlow().draw(seeded(n)) for n in range(500)])
    torch.testing.assert_close(plain, 1 / (1 + (-normal).exp()))
    shifted = torch.cat([RectifiedFlow(shift=3.0).draw(seeded(n)) for n in range(500)])
    torch.testing.assert_close(shifted, 3 * plain / (1 + 2 * plain))
    for times in (plain, shifted):
        assert times.dtype == torch.float32
        assert ((times > 0) & (times < 1)).all()
    assert (shifted > plain).all()


@pytest.mark.parametrize("shift", [0.0, -1.0, float("nan"), float("inf")])
def test_a_shift_that_leaves_no_times_is_refused(shift: float) -> None:
    with pytest.raises(ConfigError, match=rf"shift is {shift}; give a finite number above 0"):
        RectifiedFlow(shift)


def test_a_sample_is_a_time_then_a_posterior_then_noise_of_its_own_stream() -> None:
    latents, prompts, flow = toy_latents(3, [1, 2], 0), toy_condition(), RectifiedFlow(shift=2.0)
    batch = noised(latents, prompts, flow, [Draw(2, (5, "x")), Draw(0, (5, "y"))])
    for n, (picture, key) in enumerate([(2, (5, "x")), (0, (5, "y"))]):
        stream = generator_for(*key)
        s = flow.draw(stream)
        shape = latents.mean[picture].shape
        x_0 = latents.mean[picture] + latents.std[picture] * torch.randn(shape, generator=stream)
        noise = torch.randn(shape, generator=stream)
        assert torch.equal(batch.t[n : n + 1], s)
        torch.testing.assert_close(batch.x_t[n], (1 - s) * x_0 + s * noise)
        torch.testing.assert_close(batch.target[n], noise - x_0)


def test_a_model_of_velocities_is_trained_on_pictures_by_the_same_trainer() -> None:
    # The first loss is that of the formulas, written out, and it falls on the same samples.
    network = FlowToy()
    denoise = ToyDenoiser(network)
    mask = some_mask(network, share=1.0)
    unasked = FrozenDenoiser(denoise, SelectedWeights(FlowToy(), mask), needed=False)
    batches = PictureBatches(toy_data(), RectifiedFlow(), 0, CPU)

    def error(count: int) -> float:
        samples = batches.at(0, count, denoise, unasked).retain
        assert samples is not None
        with torch.no_grad():
            answer = denoise(samples.x_t, samples.t, samples.condition)
        return float(((answer - samples.target) ** 2).mean())

    first, before = error(8), error(64)
    config = TrainConfig(steps=40, batch_size=8, learning_rate=0.03)
    trainer = MaskedTrainer(
        network, ToyDenoiser, batches, mask, objective=SalUn(alpha=1.0), config=config
    )
    steps = list(trainer.steps())
    assert steps[0].retain == pytest.approx(first, rel=1e-5)
    assert error(64) < 0.9 * before
