"""Passive traces: the same samples for every model, and what is called averse."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from support.attacked import tiny_checkpoint, tiny_target
from support.models.tiny_models import SD2_SMALL, write_pipeline
from support.models.tiny_sdxl import write_sdxl
from support.tiny import CPU, seeded, toy_latents, toy_schedule
from torch import Tensor

from erasure.attacks import Target
from erasure.attacks.diagnostics.gaps import gap
from erasure.attacks.diagnostics.traces import (
    TURNED,
    Losses,
    TraceConfig,
    base_losses,
    denoising_losses,
    trace,
)
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.diffusion.denoiser import Condition
from erasure.errors import ConfigError, TrainingError

PICTURES = toy_latents(5, [0], 0)
TOLD = Condition({"tokens": torch.zeros(5, 1, 1)})
SMALL = TraceConfig(bins=2, draws=2, batch_size=4)
TINY = TraceConfig(bins=2, draws=1, pictures=2)


@pytest.fixture(scope="module", params=["sd1", "sd2", "sdxl"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Target:
    folder = tmp_path_factory.mktemp("traced")
    if request.param == "sd1":
        return tiny_target(tiny_checkpoint(folder))
    if request.param == "sd2":
        return tiny_target(read_checkpoint(write_pipeline(folder / "model", SD2_SMALL)))
    return tiny_target(read_checkpoint(write_sdxl(folder / "model")))


def nothing(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
    return torch.zeros_like(x_t)


def losses(config: TraceConfig, rows: list[int] | None = None, seed: int = 0) -> Tensor:
    chosen = rows or list(range(5))
    return denoising_losses(
        nothing,
        toy_schedule(),
        PICTURES.mean[chosen],
        PICTURES.std[chosen],
        TOLD[torch.tensor(chosen)],
        config,
        seed=seed,
        device=CPU,
    )


def test_a_sample_depends_on_its_place_alone_and_not_on_the_batch() -> None:
    whole = losses(SMALL)
    assert whole.shape == (5, 2)
    for size in (1, 3, 20):
        torch.testing.assert_close(losses(replace(SMALL, batch_size=size)), whole)
    torch.testing.assert_close(losses(SMALL, [0, 1]), whole[:2])
    assert not torch.allclose(losses(SMALL, seed=1), whole)


def test_the_loss_of_a_model_that_says_nothing_is_that_of_the_noise() -> None:
    values = losses(TraceConfig(bins=2, draws=200))
    assert values.mean().item() == pytest.approx(1, abs=0.05)


def test_each_bin_has_its_own_times() -> None:
    met: list[int] = []

    def listening(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        met.extend(t.tolist())
        return x_t

    config = TraceConfig(bins=4, draws=3, batch_size=100)
    schedule = toy_schedule()
    denoising_losses(
        listening, schedule, PICTURES.mean, PICTURES.std, TOLD, config, seed=0, device=CPU
    )
    for place, t in enumerate(met):
        b = place // 3 % 4
        assert b * 250 <= t < (b + 1) * 250
    assert len(set(met)) > 40


def test_a_rise_on_all_pictures_is_no_gap() -> None:
    base = torch.rand(12, generator=seeded()).double() + 0.5
    other = torch.rand(12, generator=seeded(1)).double() + 0.5
    apart = gap(base * 3, base, other * 1.02, other, seed=0)
    assert apart.ratio == pytest.approx(3 / 1.02)
    assert apart.low <= apart.ratio <= apart.high
    worse = gap(base * 3, base, other * 3, other, seed=0)
    assert worse.ratio == pytest.approx(1)


def test_a_gap_over_few_pictures_is_covered_as_often_as_it_says() -> None:
    covered = 0
    for turn in range(300):
        draw = seeded(turn)
        concept = (0.3 * torch.randn(8, generator=draw).double()).exp()
        other = (0.1 * torch.randn(16, generator=draw).double()).exp()
        seen = gap(concept, torch.ones(8), other, torch.ones(16), seed=turn)
        covered += seen.low <= 1 <= seen.high
    assert 0.92 <= covered / 300 <= 0.98  # bare percentiles reach 0.87


def test_a_gap_that_one_picture_makes_is_not_averse() -> None:
    base = torch.ones(8).double()
    one = base.clone()
    one[0] = 20
    outlier = gap(one, base, base, base, seed=0)
    assert outlier.ratio > 1.4
    assert outlier.low < 1.1


@pytest.mark.default("sd1")
def test_a_model_has_no_gap_to_itself(target: Target) -> None:
    traces = trace(target, TINY)
    assert set(traces.gaps) == {"null", "own prompt", "replacement"}
    for one in traces.gaps.values():
        assert (one.ratio, one.low, one.high) == (1.0, 1.0, 1.0)
    assert traces.strangeness == {}
    assert {group: len(by["null"]) for group, by in traces.losses.items()} == {
        "concept": 2,
        "controls": 2,
    }
    assert traces.to_dict() == trace(target, TINY).to_dict()


def base_of(target: Target, upright: float, turned: float) -> Losses:
    """A base whose losses on the concept, each way up, are so many times the target's own."""
    made = base_losses(target, TINY)
    concept = {text: upright * values for text, values in made["concept"].items()}
    upside_down = {text: turned * values for text, values in made["concept"].items()}
    return {"concept": concept, "controls": made["controls"], TURNED: upside_down}


@pytest.mark.default("sd1")
def test_a_model_is_averse_only_beyond_what_it_never_saw(target: Target) -> None:
    like = trace(target, TINY, base=base_of(target, 0.5, 1.0))
    assert like.gaps["null"].ratio == pytest.approx(2)  # far above the base, and yet not averse
    assert {one.state for one in like.strangeness.values()} == {"as never seen"}
    worse = trace(target, TINY, base=base_of(target, 0.2, 0.4))
    assert {text: one.state for text, one in worse.strangeness.items()} == dict.fromkeys(
        ("null", "own prompt", "replacement"), "averse"
    )
    alike = trace(target, TINY, base=base_of(target, 1.0, 1.0))
    assert alike.strangeness == {}  # the base tells neither way up from the other
    assert "as well upside down" in alike.notes["null"]


def test_the_base_is_shown_the_pictures_upside_down(target: Target) -> None:
    assert target.pictures is not None
    turned = replace(target.pictures, mean=target.pictures.mean.flip(-2))
    own = replace(target, turned_pictures=turned)
    object.__setattr__(own, "base", own)
    made = trace(own, TINY)
    assert set(made.losses) == {"concept", "controls", TURNED}
    assert made.losses[TURNED]["null"] != made.losses["concept"]["null"]
    audited = trace(replace(own, base=own, name="audited"), TINY)
    assert set(audited.losses) == {"concept", "controls"}


@pytest.mark.default("sd1")
def test_the_base_is_not_looked_at_again_where_its_losses_are_known(target: Target) -> None:
    whole = replace(target, base=replace(target, seed=target.seed + 1))
    known = base_losses(whole, TINY)
    nothing: Any = None
    assert whole.base is not None
    lost = replace(whole, base=replace(whole.base, network=nothing))  # to be looked at by nobody
    assert trace(lost, TINY, base=known) == trace(whole, TINY)
    own = replace(target)
    object.__setattr__(own, "base", own)  # as the base of an audit is
    wanted = trace(own, TINY)
    own_known = base_losses(own, TINY)
    object.__setattr__(own, "network", nothing)
    assert trace(own, TINY, base=own_known) == wanted
    with pytest.raises(ConfigError, match="there is no base to look at"):
        base_losses(replace(target, base=None), TINY)


def test_without_base_controls_or_replacement_only_what_is_there_is_traced(target: Target) -> None:
    concept = replace(target.concept, replacement="")
    assert target.pictures is not None
    bare = replace(target, base=None, other_pictures=None, concept=concept)
    traces = trace(bare, TINY)
    assert traces.gaps == {}
    assert {group: list(by) for group, by in traces.losses.items()} == {
        "concept": ["null", "own prompt"]
    }
    with pytest.raises(ConfigError, match="no picture of the concept; give at least one"):
        trace(replace(target, pictures=None))


def test_what_is_no_number_and_what_is_missing_is_said() -> None:
    def broken(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        return x_t * torch.nan

    with pytest.raises(TrainingError, match="loss of the passive trace is nan in step 1"):
        denoising_losses(
            broken, toy_schedule(), PICTURES.mean, PICTURES.std, TOLD, SMALL, seed=0, device=CPU
        )
    one, some = torch.ones(1), torch.ones(5)
    with pytest.raises(
        ConfigError, match="1 pictures of the concept and 5 others; give at least 2"
    ):
        gap(one, one, some, some, seed=0)
    with pytest.raises(ConfigError, match="bins is 0; give 1 or more"):
        TraceConfig(bins=0)


@pytest.mark.default("sd1")
def test_a_base_is_told_what_the_model_beside_it_is_told(target: Target) -> None:
    # As of a concept that was kept, whose base has the erased concept's replacement by itself.
    for replacement in ("a horn", ""):
        concept = replace(target.concept, name="castle", replacement=replacement)
        castle = replace(target, concept=concept)
        traces = trace(castle, TINY)
        more = ("replacement",) if replacement else ()
        assert set(traces.gaps) == {"null", "own prompt", *more}
        for one in traces.gaps.values():
            assert (one.ratio, one.low, one.high) == (1.0, 1.0, 1.0)
