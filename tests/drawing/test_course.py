"""Drawings that begin elsewhere than at noise, take fresh noise, or swap weights for a while."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.tiny import CPU

from erasure.attacks import Start
from erasure.checkpoints import Checkpoint
from erasure.errors import ConfigError
from erasure.seeds import initial_noise
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter
from pipelines.drawing.requests import Request
from pipelines.drawing.schedulers import build_scheduler

SHAPE = (4, 8, 8)
STEPS = 4


@pytest.fixture(scope="module")
def painter(tiny_checkpoint: Checkpoint) -> Painter:
    return Painter(tiny_checkpoint, DrawingConfig(steps=STEPS, guidance=3.0), CPU)


def drawn(painter: Painter, *requests: Request) -> NDArray[np.int16]:
    return np.stack([np.asarray(p.image, dtype=np.int16) for p in painter.paint(requests)])


def decoded(painter: Painter, latents: torch.Tensor) -> NDArray[np.int16]:
    codec = painter.parts.codec
    with torch.no_grad():
        pixels = codec.decode(latents[None])
    grey = ((pixels * 0.5 + 0.5).clamp(0, 1) * 255).round().to(torch.int16)
    return grey[0].permute(1, 2, 0).numpy()


def test_a_start_at_the_seeds_own_noise_is_the_plain_drawing_to_the_byte(painter: Painter) -> None:
    own = Start(initial_noise([5], SHAPE)[0])
    plain = drawn(painter, Request("a church", 5))
    assert np.array_equal(drawn(painter, Request("a church", 99, start=own)), plain)


def test_a_picture_at_time_zero_comes_back_as_the_vae_has_it(painter: Painter) -> None:
    latents = initial_noise([1], SHAPE)[0]
    picture = drawn(painter, Request("a church", 3, start=Start(latents, 0, clean=True)))
    assert np.array_equal(picture[0], decoded(painter, latents))


def test_a_drawing_continued_from_its_own_latents_is_the_uninterrupted_one(
    painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, torch.Tensor]] = []
    step = type(painter._scheduler).step

    def spying(self, output, t, latents, **more):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN003, ANN202
        seen.append((int(t), latents.clone()))
        return step(self, output, t, latents, **more)

    monkeypatch.setattr(type(painter._scheduler), "step", spying)
    whole = drawn(painter, Request("a church", 7))
    time, latents = seen[2]
    rest = drawn(painter, Request("a church", 0, start=Start(latents[0], time)))
    assert len(seen) == STEPS + 2
    assert np.abs(rest - whole).max() <= 1  # the same arithmetic on the same numbers
    other = drawn(painter, Request("a church", 0, start=Start(seen[1][1][0], time)))
    assert np.abs(other - whole).max() > 1


def test_a_half_noised_picture_goes_through_the_times_up_to_its_own(painter: Painter) -> None:
    latents = initial_noise([1], SHAPE)[0]
    times = painter._scheduler.timesteps
    start = Start(latents, int(times[1]), clean=True)
    one = drawn(painter, Request("a church", 3, start=start))
    noised = painter._scheduler.add_noise(latents[None], initial_noise([3], SHAPE), times[1:2])
    by_hand = Start(noised[0], int(times[1]))
    assert np.array_equal(drawn(painter, Request("a church", 8, start=by_hand)), one)
    assert not np.array_equal(drawn(painter, Request("a church", 4, start=start)), one)


def test_inpainting_leaves_what_is_kept_and_draws_the_rest(painter: Painter) -> None:
    latents = initial_noise([1], SHAPE)[0]
    whole = torch.ones(SHAPE[1:], dtype=torch.bool)
    original = drawn(painter, Request("a dog", 3, start=Start(latents, 999, True, whole)))
    assert np.array_equal(original[0], decoded(painter, latents))
    half = whole.clone()
    half[:, 4:] = False
    mixed = drawn(painter, Request("a dog", 3, start=Start(latents, 999, True, half)))
    assert not np.array_equal(mixed, original)


def test_eta_zero_is_ddim_and_eta_one_has_the_posterior_variance_of_ddpm(
    painter: Painter, tiny_checkpoint: Checkpoint
) -> None:
    plain = drawn(painter, Request("a church", 5))
    fresh = drawn(painter, Request("a church", 5, eta=1.0))
    assert np.array_equal(drawn(painter, Request("a church", 5, eta=0.0)), plain)
    assert not np.array_equal(fresh, plain)
    assert np.array_equal(drawn(painter, Request("a church", 5, eta=1.0)), fresh)
    scheduler = build_scheduler("ddim", tiny_checkpoint.description.scheduler)
    scheduler.set_timesteps(STEPS)
    now = int(scheduler.timesteps[1])
    before = now - 1000 // STEPS
    level, earlier = scheduler.alphas_cumprod[now], scheduler.alphas_cumprod[before]
    zero, one = torch.zeros(1, 4, 1, 1), torch.ones(1, 4, 1, 1)
    added = scheduler.step(zero, now, one, eta=1.0, variance_noise=one).prev_sample
    without = scheduler.step(zero, now, one, eta=1.0, variance_noise=zero).prev_sample
    # arXiv:2006.11239, eq. 7, for a step that skips times: beta is 1 - level / earlier.
    posterior = (1 - earlier) / (1 - level) * (1 - level / earlier)
    torch.testing.assert_close((added - without).square()[0, 0, 0, 0], posterior)


def test_swapped_weights_are_drawn_with_and_put_back_to_the_bit(painter: Painter) -> None:
    plain = drawn(painter, Request("a church", 5))
    own = {n: v.clone() for n, v in painter.parts.network.named_parameters()}
    name = "conv_in.weight"
    with painter.weighing({name: own[name] * 2}):
        changed = drawn(painter, Request("a church", 5))
    assert not np.array_equal(changed, plain)
    assert np.array_equal(drawn(painter, Request("a church", 5)), plain)
    assert all(torch.equal(own[n], v) for n, v in painter.parts.network.named_parameters())
    with (
        pytest.raises(ConfigError, match="'nothing' of shape"),
        painter.weighing({name: own[name] * 2, "nothing": own[name]}),
    ):
        pass
    assert torch.equal(painter.parts.network.conv_in.weight, own[name])


def test_only_ddim_begins_elsewhere(tiny_checkpoint: Checkpoint) -> None:
    painter = Painter(tiny_checkpoint, DrawingConfig(steps=STEPS), CPU, scheduler="pndm")
    with pytest.raises(ConfigError, match="draw with the scheduler ddim"):
        painter.paint([Request("a church", 1, eta=0.5)])


def test_a_start_of_another_shape_is_refused(painter: Painter) -> None:
    with pytest.raises(ConfigError, match=r"have \(4, 8, 8\); make it for this model"):
        painter.paint([Request("a church", 1, start=Start(torch.zeros(4, 4, 4)))])
