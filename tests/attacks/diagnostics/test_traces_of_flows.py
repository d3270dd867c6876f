"""Passive traces of rectified flows: velocity losses by parts of the times of training."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.attacked import tiny_target
from support.models.tiny_flow import write_flux, write_sd3
from support.tiny import CPU, toy_latents
from torch import Tensor

from erasure.architectures.text.text_encoders import TokenIds
from erasure.attacks import Target
from erasure.attacks.diagnostics.traces import TraceConfig, denoising_losses, trace
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.diffusion.denoiser import Condition
from erasure.diffusion.schedule import RectifiedFlow
from erasure.errors import ConfigError
from erasure.seeds import generator_for

TINY = TraceConfig(bins=5, draws=2, pictures=2, batch_size=3)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    folder = tmp_path_factory.mktemp("flow") / "sd3"
    return tiny_target(read_checkpoint(write_sd3(folder, "sd35_large", t5=False)))


def test_a_model_that_blames_the_noise_alone_errs_by_the_picture_over_s() -> None:
    # x_s / s - (eps - x_0) = ((1 - s) / s + 1) x_0 = x_0 / s, whatever the noise.
    pictures = toy_latents(3, [0], 0)
    flow, config = RectifiedFlow(shift=3.0), TraceConfig(bins=5, draws=3, batch_size=100)
    seen: list[float] = []

    def blaming(x_s: Tensor, s: Tensor, condition: Condition, /) -> Tensor:
        seen.extend(s.tolist())
        return x_s / s.view(-1, 1, 1, 1)

    condition = Condition({"tokens": torch.zeros(3, 1, 1)})
    exact = torch.zeros_like(pictures.std)
    losses = denoising_losses(
        blaming, flow, pictures.mean, exact, condition, config, seed=0, device=CPU
    )
    times = torch.tensor(seen, dtype=torch.float64).view(3, 5, 3)
    power = pictures.mean.double().square().flatten(1).mean(dim=1)
    wanted = (power.view(3, 1, 1) / times.square()).mean(dim=2)
    torch.testing.assert_close(losses, wanted, rtol=1e-4, atol=0)  # float32 near s = 0
    for part in range(5):
        low, high = flow.at(part / 5), flow.at((part + 1) / 5)
        assert ((times[:, part] >= low) & (times[:, part] <= high)).all()


def test_the_trace_of_a_flow_is_what_a_slow_loop_over_its_samples_counts(target: Target) -> None:
    made = trace(target, TINY)
    assert target.pictures is not None
    flow, pictures = target.schedule, target.pictures
    assert isinstance(flow, RectifiedFlow)
    assert flow.shift == 3.0
    sums = [0.0] * 5
    for n in range(2):
        for part in range(5):
            for draw in range(2):
                place = (target.seed, n, part, draw)
                u = float(torch.rand(1, generator=generator_for("trace time", *place)))
                z = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor((part + u) / 5))
                s = 3 / (3 + float((-z).exp()))
                key = generator_for(target.seed, "trace", n, part, draw)
                own, eps = (torch.randn(pictures.mean[n].shape, generator=key) for _ in range(2))
                x_0 = pictures.mean[n] + pictures.std[n] * own
                x_s = x_0 + s * (eps - x_0)
                with torch.no_grad():
                    answer = target.denoise(x_s[None], torch.tensor([s]), target.told([""]))
                sums[part] += float((answer[0] - eps + x_0).pow(2).mean()) / 4
    assert made.losses["concept"]["null"] == pytest.approx(sums, rel=1e-4)


def test_the_same_seed_gives_the_same_trace_and_no_gap_to_itself(target: Target) -> None:
    made = trace(target, TINY)
    assert made.to_dict() == trace(target, TINY).to_dict()
    whole = trace(target, replace(TINY, batch_size=20)).losses["concept"]["null"]
    assert made.losses["concept"]["null"] == pytest.approx(whole)
    assert made.times == pytest.approx([0, 0.5638, 0.6996, 0.7945, 0.8744, 1], abs=1e-4)
    assert made.notes == {}
    assert set(made.gaps) == {"null", "own prompt", "replacement"}
    assert {gap.ratio for gap in made.gaps.values()} == {1.0}


def test_a_flow_that_is_told_its_guidance_says_what_null_is(tmp_path: Path) -> None:
    made = trace(tiny_target(read_checkpoint(write_flux(tmp_path / "flux"))), TINY)
    assert made.notes["null"] == (
        "FLUX.1 dev is told its guidance as a number, so there is no guidance away from the empty "
        "prompt; null is the loss under that prompt all the same"
    )
    assert all(loss > 0 for loss in made.losses["controls"]["null"])


class Speechless:
    """The text encoder of a model that knows no empty prompt."""

    def __init__(self, target: Target) -> None:
        self._text = target.text

    def __call__(self, prompts: Sequence[str]) -> Condition:
        return self.encode(self.tokenize(prompts))

    def tokenize(self, prompts: Sequence[str]) -> Sequence[TokenIds]:
        if "" in prompts:
            raise ConfigError("this model has no label that stands for no class")
        return self._text.tokenize(prompts)

    def encode(self, tokens: Sequence[TokenIds]) -> Condition:
        return self._text.encode(tokens)


def test_a_model_without_a_null_condition_says_so_and_gives_the_rest(target: Target) -> None:
    mute = Speechless(target)
    without = replace(target, text=mute, concept=replace(target.concept, replacement=""))  # type: ignore[arg-type]
    made = trace(replace(without, base=without), TINY)
    assert list(made.losses["concept"]) == list(made.gaps) == ["own prompt"]
    assert made.notes == {
        "null": "this model has no label that stands for no class",
        "replacement": "no prompt of what may be drawn in the concept's place is known",
    }
