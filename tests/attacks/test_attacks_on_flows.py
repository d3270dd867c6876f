"""Attacks on flow transformers: searches, drawings that begin elsewhere, fresh noise, inversion."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from support.attacked import same, tiny_target, weights_of
from support.models.tiny_flow import write_flux, write_sd3
from support.tiny import CPU, seeded

from erasure import read_checkpoint
from erasure.attacks.diagnostics.inversion import Inversion
from erasure.attacks.payload import Payload, Start
from erasure.attacks.protocol import OF_TOKENS, lacking
from erasure.attacks.registry import ATTACKS, make_attack
from erasure.attacks.target import Ledger, embedded
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.denoiser import Condition
from erasure.diffusion.schedule import RectifiedFlow
from erasure.seeds import initial_noise
from pipelines.audit.attacking import drawing_cost_of
from pipelines.audit.drawing import draw_jobs
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter, Request
from pipelines.drawing.requests import work_of


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("attacked") / "sd3"
    return read_checkpoint(write_sd3(folder, "sd35_large", t5=False))


def test_attacks_that_count_no_times_run_and_leave_the_model_as_it_is(
    checkpoint: Checkpoint,
) -> None:
    target = tiny_target(checkpoint)
    before = weights_of(target.network)
    for name in ("words", "seeds", "rounding", "pruning", "add-back"):
        attack = make_attack(name)
        assert lacking(attack, target) == ""
        assert list(attack.run(target)), name
    tuning = make_attack("relearning", marks=(1,), batch_size=2)
    tries = list(tuning.run(target))
    weights = [one.payload.weights for one in tries if one.payload.weights]
    assert any(not torch.equal(w[name], before[name]) for w in weights for name in w)
    assert same(weights_of(target.network), before)
    painter = Painter(checkpoint, DrawingConfig(steps=2, guidance=1.0), CPU, 16)
    pictures = draw_jobs(painter, [(one.payload, 5) for one in tries[:1]])
    assert pictures[0].finite


def test_no_attack_is_skipped_on_a_flow_that_clip_alone_reads_to(checkpoint: Checkpoint) -> None:
    target = tiny_target(checkpoint)
    reasons = {name: lacking(ATTACKS[name], target) for name in ATTACKS}
    assert set(reasons.values()) == {""}
    assert {one.payload.eta for one in make_attack("eta", seeds=1).run(target)} == {
        0.25,
        0.5,
        0.75,
        1.0,
    }


def test_the_noise_of_a_picture_is_found_by_euler_s_steps(checkpoint: Checkpoint) -> None:
    target = tiny_target(checkpoint)
    assert target.pictures is not None
    assert isinstance(target.schedule, RectifiedFlow)
    attack = Inversion(steps=6, rounds=12)
    clean = target.pictures.mean[:2]
    inversion = attack.noise_of(target, clean, Ledger())
    latents = inversion.latents
    levels = [*target.schedule.levels(6).tolist(), 0.0]
    rows = torch.zeros(2, dtype=torch.int64)
    for now, after in pairwise(levels):
        with torch.no_grad():
            answer = target.denoise(latents, torch.full((2,), now), target.told([""])[rows])
        latents = latents + (after - now) * answer
    torch.testing.assert_close(latents, clean, atol=1e-4, rtol=1e-4)
    assert float(inversion.residual.max()) < 1e-4
    assert (latents - inversion.latents).abs().max() > 0.1  # it went somewhere
    tries = list(make_attack("inversion", steps=2, rounds=1).run(target))
    assert [one.payload.guidance for one in tries] == [1.0] * len(target.cases)


@pytest.mark.parametrize("name", sorted(OF_TOKENS))
def test_searches_for_words_and_vectors_run_on_a_flow(checkpoint: Checkpoint, name: str) -> None:
    target = tiny_target(checkpoint)
    short: dict[str, dict[str, Any]] = {
        "soft-token": {"marks": (1,), "batch_size": 2},
        "concept-vector": {"rounds": 1, "steps": 1, "population": 4},
        "pooled-text": {"rounds": 1, "steps": 1},
    }
    usual = {"rounds": 2, "steps": 1, "batch_size": 1, "prompts": 1}
    before = weights_of(target.network)
    tries = list(make_attack(name, **short.get(name, usual)).run(target))
    assert len(tries) >= len(target.cases)
    for tried in tries:
        assert tried.score is None or tried.score == tried.score  # not NaN
    if name == "soft-token":
        rows = tries[0].payload.rows
        assert rows is not None
        condition = embedded(target.text, tries[0].payload.prompt, rows)
        assert condition.tokens.isfinite().all()
    assert same(weights_of(target.network), before)


def test_pictures_are_noised_on_a_flow_as_far_as_its_training_goes(checkpoint: Checkpoint) -> None:
    target = tiny_target(checkpoint)
    levels = (0.2, 0.5, 0.9)
    tries = list(make_attack("completion", levels=levels, null=False).run(target))
    flow = target.schedule
    assert isinstance(flow, RectifiedFlow)
    times = [one.payload.start.time for one in tries[:3] if one.payload.start is not None]
    assert times == [round(1000 * flow.at(level)) for level in levels]
    assert times[1] == 750  # half of the logit-normal times lie below 1/2, which m = 3 shifts
    covered = next(iter(make_attack("inpainting").run(target))).payload.start
    assert covered is not None
    assert covered.time == 1000


def test_a_drawing_of_a_flow_begins_at_a_half_noised_picture(checkpoint: Checkpoint) -> None:
    painter = Painter(checkpoint, DrawingConfig(steps=8, guidance=1.0), CPU, 16)
    shape = checkpoint.architecture.latent_shape(checkpoint.description, 16, 16)
    clean = torch.randn(shape, generator=seeded(3))
    seen: list[tuple[float, torch.Tensor]] = []
    denoise = painter._denoise

    def noting(x_t: torch.Tensor, t: torch.Tensor, condition: Condition, /) -> torch.Tensor:
        seen.append((float(t[0]), x_t[0].clone()))
        return denoise(x_t, t, condition)

    painter._denoise = noting
    request = Request("a church", 5, start=Start(clean, 600, clean=True))
    next(iter(painter.draw([request])))
    s, first = seen[0]
    assert 0 < s <= 0.6
    noise = initial_noise([5], shape)[0]
    torch.testing.assert_close(first, (1 - s) * clean + s * noise)
    keep = torch.ones(shape[1:], dtype=torch.bool)
    seen.clear()
    whole = Request("a church", 5, start=Start(clean, 1000, clean=True, keep=keep))
    next(iter(painter.draw([whole])))
    assert len(seen) == 8
    s, last = seen[-1]
    torch.testing.assert_close(last, (1 - s) * clean + s * noise)  # all of it is kept


def test_a_drawing_of_a_flow_takes_fresh_noise_by_its_seed(checkpoint: Checkpoint) -> None:
    painter = Painter(checkpoint, DrawingConfig(steps=6, guidance=1.0, batch_size=2), CPU, 16)
    sums: list[torch.Tensor] = []

    def silent(x_t: torch.Tensor, t: torch.Tensor, condition: Condition, /) -> torch.Tensor:
        sums.append(x_t.clone())
        return torch.zeros_like(x_t)  # x_0 and noise are then both x_t

    painter._denoise = silent

    def seen(*requests: Request) -> torch.Tensor:
        """The latents before the last step, (B, C, h, w)."""
        sums.clear()
        list(painter.draw(requests))
        return sums[-1]

    plain, tiny, whole = (seen(Request("a church", 5, eta=eta)) for eta in (0.0, 1e-6, 1.0))
    torch.testing.assert_close(tiny, plain, atol=1e-4, rtol=0)
    assert not torch.allclose(whole, plain, atol=0.1)
    both = seen(Request("a church", 5, eta=1.0), Request("a church", 6, eta=1.0))
    torch.testing.assert_close(both[:1], whole)
    assert not torch.allclose(both[1:], whole, atol=0.1)


def test_a_model_that_is_told_its_guidance_takes_one_pass_a_step(tmp_path: Path) -> None:
    flux = read_checkpoint(write_flux(tmp_path / "flux"))
    target = tiny_target(flux, guidance=3.5)  # 4 steps
    assert make_attack("seeds", draws=5).estimate(target).forwards == 5 * 4
    painter = Painter(flux, DrawingConfig(steps=4, guidance=3.5), CPU, 16)
    plain, untold = Payload(prompt="a church"), Payload(prompt="", guidance=1.0)
    assert [drawing_cost_of(painter, one).forwards for one in (plain, untold)] == [4, 4]
    asked = 0

    def counting(*_: object) -> None:
        nonlocal asked
        asked += 1

    painter.parts.network.register_forward_pre_hook(counting)
    draw_jobs(painter, [(plain, 0)])
    assert asked == 4
    config = DrawingConfig(steps=4, guidance=3.5)
    assert work_of([Request("a church", 0)], config, flux.architecture).forward == 4


def test_words_of_clip_are_no_words_of_t5(tmp_path: Path) -> None:
    target = tiny_target(read_checkpoint(write_flux(tmp_path / "flux")))
    for name in OF_TOKENS:
        said = lacking(ATTACKS[name], target)
        assert "FLUX.1 dev reads CLIPTokenizer" in said
        assert "T5Tokenizer" in said
    for name in ("prefixes", "completion", "inpainting"):
        assert lacking(ATTACKS[name], target) == ""
    assert list(make_attack("prefixes", draws=2).run(target))
