"""Inversion leads back whatever the model is, which is why it proves nothing."""

from dataclasses import replace

import pytest
import torch
from support.attacked import tiny_checkpoint, tiny_target
from support.models.tiny_models import SD2_SMALL, write_pipeline
from support.tiny import seeded, toy_condition, toy_schedule
from torch import Tensor

from erasure.architectures.building import build_network
from erasure.attacks import Budget, Target, make_attack
from erasure.attacks.diagnostics.inversion import Inversion, inverted, normalised, typicality
from erasure.attacks.opening import random_weights
from erasure.attacks.target import Ledger
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.diffusion.denoiser import Condition
from erasure.diffusion.sample import ddim, ddim_times
from erasure.diffusion.schedule import Prediction
from erasure.errors import ConfigError, TrainingError

CLEAN = torch.randn(3, 2, 4, 4, generator=seeded()).double()
WORDS = toy_condition(rows=3)


@pytest.fixture(scope="module", params=["sd1", "sd2"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Target:
    folder = tmp_path_factory.mktemp("inverted")
    if request.param == "sd1":
        return tiny_target(tiny_checkpoint(folder))
    return tiny_target(read_checkpoint(write_pipeline(folder / "model", SD2_SMALL)))


def linear(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
    return 0.3 * x_t


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_linear_model_is_inverted_exactly(prediction: Prediction) -> None:
    schedule = toy_schedule(prediction)
    schedule = replace(schedule, alphas_cumprod=schedule.alphas_cumprod.double())
    times = ddim_times(schedule, 20)
    inversion = inverted(linear, schedule, times, CLEAN, WORDS, rounds=40)
    *_, back = ddim(linear, schedule, times, inversion.latents, WORDS)
    torch.testing.assert_close(back, CLEAN, rtol=1e-9, atol=1e-9)
    assert float(inversion.residual.max()) < 1e-10


def test_the_residual_falls_with_the_rounds() -> None:
    schedule = toy_schedule()
    times = ddim_times(schedule, 20)
    worst = [
        float(inverted(linear, schedule, times, CLEAN, WORDS, rounds=rounds).residual.max())
        for rounds in (1, 2, 4, 8)
    ]
    assert worst == sorted(worst, reverse=True)
    assert worst[-1] < worst[0] / 100


def test_a_picture_s_noise_does_not_depend_on_the_others() -> None:
    schedule = toy_schedule()
    times = ddim_times(schedule, 5)
    both = inverted(linear, schedule, times, CLEAN, WORDS).latents
    alone = inverted(linear, schedule, times, CLEAN[1:2], WORDS[torch.tensor([1])]).latents
    torch.testing.assert_close(both[1:2], alone)


@pytest.mark.slow
def test_random_weights_redraw_a_picture_as_well_as_the_model(
    target: Target, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("random")
    checkpoint = tiny_checkpoint(folder)
    if target.schedule.prediction == "v_prediction":
        checkpoint = read_checkpoint(write_pipeline(folder / "other", SD2_SMALL))
    assert target.pictures is not None
    clean = target.pictures.mean[:1]
    attack, empty = Inversion(steps=10, rounds=8), target.told([""])
    random = build_network(random_weights(checkpoint, 1)).eval().requires_grad_(False)
    for network in (target.network, random):
        one = replace(target, network=network)
        noise = attack.noise_of(one, clean, Ledger())
        times = ddim_times(target.schedule, 10)
        rows = torch.zeros(len(clean), dtype=torch.int64)
        with torch.no_grad():
            *_, back = ddim(one.denoise, target.schedule, times, noise.latents, empty[rows])
        assert float((back - clean).square().mean()) < 1e-4


def test_two_equal_models_have_the_same_noise_of_a_picture(target: Target) -> None:
    assert target.pictures is not None
    attack, clean = Inversion(steps=2, rounds=2), target.pictures.mean[:1]
    twin = replace(target, network=target.copy().requires_grad_(False))
    one, other = (attack.noise_of(each, clean, Ledger()).latents for each in (target, twin))
    assert torch.equal(one, other)


def test_noise_is_typical_and_a_picture_is_not() -> None:
    noise = typicality(torch.randn(4, 64, 64, generator=seeded()))
    assert noise.std == pytest.approx(1, abs=0.02)
    assert noise.norm == pytest.approx(1, abs=0.02)
    assert noise.kurtosis == pytest.approx(0, abs=0.1)
    assert noise.neighbours == pytest.approx(0, abs=0.02)
    slope = typicality(torch.linspace(-1, 1, 64).expand(4, 64, 64))
    assert slope.neighbours > 0.9
    assert slope.kurtosis == pytest.approx(-1.2, abs=0.01)  # of a uniform distribution


def test_normalised_noise_has_mean_0_and_deviation_1() -> None:
    made = normalised(3 + 2 * CLEAN)
    for one in made:
        moments = typicality(one)
        assert moments.mean == pytest.approx(0, abs=1e-9)
        assert moments.std == pytest.approx(1)


def test_the_attack_draws_typical_noise_without_text_and_counts_its_passes(target: Target) -> None:
    attack = make_attack("inversion", steps=3, rounds=2)
    attempts = list(attack.run(target))
    assert [one.case for one in attempts] == list(target.cases)
    assert {(one.payload.prompt, one.payload.guidance) for one in attempts} == {("", 1.0)}
    assert attack.access == "diagnostic"
    for one in attempts:
        start = one.payload.start
        assert start is not None
        assert (start.clean, start.time) == (False, None)
        assert typicality(start.latents).std == pytest.approx(1, abs=1e-4)
        assert set(one.payload.replay) >= {"std", "kurtosis", "norm", "residual"}
    estimate = attack.estimate(target)
    assert sum(one.cost.forwards for one in attempts) == estimate.forwards - 3 * target.steps
    assert sum(one.cost.pictures for one in attempts) == estimate.pictures == 3
    short = replace(target, budget=Budget(draws=9, passes=20))  # of 3 pictures, 9 passes each
    assert sum(one.cost.forwards for one in attack.run(short)) == 18
    poor = replace(target, budget=Budget(draws=9, passes=8))
    assert (list(attack.run(poor)), attack.estimate(poor).draws) == ([], 0)
    plain = list(attack.run(replace(target, budget=Budget(draws=0))))
    assert [one.arm for one in plain] == ["plain"] * 3


def test_what_cannot_be_inverted_is_said() -> None:
    schedule = toy_schedule()

    def running_away(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        return x_t * 1e30

    with pytest.raises(TrainingError, match="runs away to what is no number within 5 steps"):
        inverted(running_away, schedule, ddim_times(schedule, 5), CLEAN.float(), WORDS)
    with pytest.raises(ConfigError, match="rounds is 0; give 1 or more"):
        inverted(linear, schedule, ddim_times(schedule, 5), CLEAN, WORDS, rounds=0)
