"""Finding a mask and erasing, from a checkpoint to a checkpoint, on a random tiny pipeline."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from safetensors import safe_open
from support.console import command
from support.tiny import ascent, assert_same_bits, outside, salun, seeded
from torch import Tensor, nn

from erasure.checkpoints import Checkpoint, Provenance
from erasure.diffusion import task
from erasure.diffusion.batches import PictureBatch
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.denoiser import Denoiser
from erasure.diffusion.edit import erase
from erasure.diffusion.mask_finding import find_mask
from erasure.diffusion.scores import summing
from erasure.diffusion.scores.measuring import measure_scores
from erasure.diffusion.scores.saliency import Pass, SaliencyConfig
from erasure.diffusion.scores.summing import Measuring
from erasure.editing.proving import Edit, package_version
from erasure.errors import ConfigError, MaskError, TrainingError
from erasure.masks.mask_file import mask_hash
from erasure.masks.masks import MaskKind, SaliencyMask
from erasure.methods import Method, SalUn
from erasure.seeds import generator_for
from erasure.storage.tensors.hashing import weights_hash
from erasure.training.objective import Loss
from erasure.training.step import Step
from erasure.training.train_config import TrainConfig

SHORT = TrainConfig(steps=4, batch_size=2, learning_rate=1e-3)


@pytest.fixture(scope="module")
def mask(tiny_checkpoint: Checkpoint, tiny_data: ConceptData) -> SaliencyMask:
    return find_mask(tiny_checkpoint, tiny_data, concept="church")


def random_mask(checkpoint: Checkpoint, data: ConceptData, **settings: Any) -> SaliencyMask:  # noqa: ANN401
    return find_mask(checkpoint, data, "random", **settings)


def with_unet(checkpoint: Checkpoint, dtype: torch.dtype) -> Checkpoint:
    unet = {name: weight.to(dtype) for name, weight in checkpoint.network.items()}
    return replace(checkpoint, components={**checkpoint.components, "unet": unet})


def with_scheduler(checkpoint: Checkpoint, **settings: object) -> Checkpoint:
    scheduler = {**checkpoint.description.scheduler, **settings}
    return replace(checkpoint, description=replace(checkpoint.description, scheduler=scheduler))


def answer_gap(checkpoint: Checkpoint, unet: Mapping[str, Tensor], data: ConceptData) -> float:
    """Mean squared distance of the answers to the forget prompt and to its replacement."""
    model = UNet2DConditionModel.from_config(dict(checkpoint.description.components["unet"])).eval()
    model.load_state_dict(dict(unet))
    x = torch.randn(8, 4, 4, 4, generator=seeded(7))
    t = torch.arange(100, 900, 100)
    concept, instead = (data.prompts.tokens[int(n)][None].expand(8, -1, -1) for n in (1, 2))
    with torch.no_grad():
        return float((model(x, t, concept).sample - model(x, t, instead).sample).square().mean())


def test_erasing_pulls_the_answers_together_and_leaves_everything_else(
    tiny_checkpoint: Checkpoint, tiny_folder: Path, tiny_data: ConceptData, mask: SaliencyMask
) -> None:
    files = {path: path.read_bytes() for path in tiny_folder.rglob("*") if path.is_file()}
    hashes = {part: weights_hash(w) for part, w in tiny_checkpoint.components.items()}
    before = answer_gap(tiny_checkpoint, tiny_checkpoint.network, tiny_data)
    assert before > 1e-3  # the effect is there before erasing
    config = TrainConfig(steps=12, batch_size=4, learning_rate=2e-3)
    steps: list[Step] = []
    result = erase(tiny_checkpoint, tiny_data, mask, salun(config, alpha=0.5), on_step=steps.append)
    assert answer_gap(tiny_checkpoint, result.network, tiny_data) < before / 4
    assert result.history[-1].forget < result.history[0].forget / 4
    assert tuple(steps) == result.history
    assert [step.index for step in result.history] == list(range(1, 13))
    assert result.unselected_identical is True
    assert_same_bits(result.network, dict(tiny_checkpoint.network), outside(mask.entries))
    # The base, in memory and on disk, its autoencoder and its text encoder are as they were.
    assert {part: weights_hash(w) for part, w in tiny_checkpoint.components.items()} == hashes
    assert {path: path.read_bytes() for path in files} == files


def test_the_provenance_says_what_was_done(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, mask: SaliencyMask
) -> None:
    result = erase(
        tiny_checkpoint,
        tiny_data,
        mask,
        salun(SHORT),
        concept="church",
        record={"pictures": 4},
    )
    record, total = result.provenance.last, sum(w.numel() for w in tiny_checkpoint.network.values())
    moved = sum(int((result.network[n] != w).sum()) for n, w in tiny_checkpoint.network.items())
    assert (record.total, record.selected, record.density) == (total, total // 2, 0.5)
    assert record.moved == moved
    assert 0.99 * record.selected < moved <= record.selected
    assert record.base_hash == tiny_checkpoint.network_hash() == mask.info.base
    assert record.mask_hash == mask_hash(mask)
    assert record.concept == "church"
    assert record.objective == repr(salun(SHORT))
    work = record.config["work"]
    assert record.config == {"method": "salun", "facts": {}, "pictures": 4, "work": work}
    assert work["backward"] > 0
    assert record.version == package_version()
    assert Provenance.from_dict(result.provenance.to_dict()) == result.provenance


def test_a_step_on_a_real_unet_equals_a_straight_line_implementation(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, mask: SaliencyMask
) -> None:
    # The same step is written with diffusers and torch alone: Adam at 1e-5 on masked gradients,
    # after which the weights outside the mask are put back.
    model = UNet2DConditionModel.from_config(
        dict(tiny_checkpoint.description.components["unet"])
    ).eval()
    model.load_state_dict(dict(tiny_checkpoint.network))
    scheduler = DDPMScheduler.from_config(dict(tiny_checkpoint.description.scheduler))
    adam = torch.optim.Adam(model.parameters(), lr=1e-5)

    def drawn(part: str, position: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        latents = getattr(tiny_data, part)
        order = torch.randperm(len(latents), generator=generator_for(0, f"{part} order", 0))
        row, stream = int(order[position]), generator_for(0, part, position)
        t = torch.randint(1000, (1,), generator=stream)
        z = latents.mean[row] + latents.std[row] * torch.randn(4, 4, 4, generator=stream)
        noise = torch.randn(4, 4, 4, generator=stream)[None]
        tokens = tiny_data.prompts.tokens[latents.prompt[row]][None]
        return scheduler.add_noise(z[None], noise, t), t, noise, tokens

    loss = torch.zeros(())
    for position in (0, 1):
        x, t, _, tokens = drawn("forget", position)
        wanted = model(x, t, tiny_data.prompts.tokens[2:3]).sample.detach()
        loss = loss + (model(x, t, tokens).sample - wanted).square().mean() / 2
        x, t, noise, tokens = drawn("retain", position)
        loss = loss + 0.5 * (model(x, t, tokens).sample - noise).square().mean() / 2
    loss.backward()
    for name, weight in model.named_parameters():
        weight.grad.mul_(mask.entries[name])
    adam.step()
    config = TrainConfig(steps=1, batch_size=2, learning_rate=1e-5)
    result = erase(tiny_checkpoint, tiny_data, mask, salun(config, alpha=0.5))
    assert result.history[0].loss == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(result.network[name], weight, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_base_keeps_its_bytes_where_nothing_was_selected(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, dtype: torch.dtype
) -> None:
    half = with_unet(tiny_checkpoint, dtype)
    chosen = random_mask(half, tiny_data, density=0.3, scope="xattn")
    result = erase(half, tiny_data, chosen, salun(replace(SHORT, learning_rate=1e-2)))
    everything = {name: torch.zeros(w.shape) > 0 for name, w in half.network.items()}
    assert_same_bits(result.network, dict(half.network), outside({**everything, **chosen.entries}))
    assert {weight.dtype for weight in result.network.values()} == {dtype}
    untouched = [name for name in half.network if "attn2" not in name]
    assert all(result.network[name] is half.network[name] for name in untouched)
    assert 0 < result.provenance.last.moved <= chosen.selected
    assert result.unselected_identical is True


def test_bf16_passes_erase_and_keep_unselected_bits(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, mask: SaliencyMask
) -> None:
    result = erase(
        tiny_checkpoint,
        tiny_data,
        mask,
        SalUn(alpha=0.0, steps=5, batch_size=3, learning_rate=4e-3, precision="bf16"),
    )
    assert_same_bits(result.network, dict(tiny_checkpoint.network), outside(mask.entries))
    assert result.unselected_identical is True
    assert result.history[-1].forget < result.history[0].forget / 2
    # Every tensor got a gradient, or Adam would not have moved it.
    still = [n for n, w in tiny_checkpoint.network.items() if torch.equal(w, result.network[n])]
    assert [name for name in still if mask.entries[name].any()] == []


def test_gradient_checkpointing_changes_only_rounding(
    tiny_checkpoint: Checkpoint,
    tiny_data: ConceptData,
    mask: SaliencyMask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(SHORT, steps=2, optimizer="sgd", learning_rate=0.05)
    plain = erase(tiny_checkpoint, tiny_data, mask, salun(config))
    calls, original = [], torch.utils.checkpoint.checkpoint

    def counted(*args: Any, **settings: Any) -> Any:  # noqa: ANN401
        calls.append(args[0])
        return original(*args, **settings)

    monkeypatch.setattr(torch.utils.checkpoint, "checkpoint", counted)
    spared = erase(tiny_checkpoint, tiny_data, mask, salun(config), checkpointing=True)
    assert calls
    for one, two in zip(plain.history, spared.history, strict=True):
        assert two.loss == pytest.approx(one.loss, rel=1e-5)
    for name, weight in plain.network.items():
        torch.testing.assert_close(spared.network[name], weight, rtol=0, atol=1e-6)


def test_weights_outside_the_scope_have_no_gradient(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks: list[nn.Module] = []

    def watched(*arguments: Any, **more: Any) -> Any:  # noqa: ANN401
        moving = build(*arguments, **more)
        networks.append(moving.network)
        return moving

    build = task.moving_of
    monkeypatch.setattr(task, "moving_of", watched)
    chosen = random_mask(tiny_checkpoint, tiny_data, scope="xattn")

    def look(_: Step) -> None:
        for name, weight in networks[0].named_parameters():
            assert weight.requires_grad == ("attn2" in name)
            assert weight.grad is None

    result = erase(tiny_checkpoint, tiny_data, chosen, salun(SHORT), on_step=look)
    moved = [n for n, w in tiny_checkpoint.network.items() if not torch.equal(w, result.network[n])]
    assert moved
    assert all("attn2" in name for name in moved)


@pytest.mark.default("salun")
@pytest.mark.parametrize("make", [salun, ascent])
def test_a_velocity_model_is_erased_as_one(
    tiny_checkpoint: Checkpoint,
    tiny_data: ConceptData,
    mask: SaliencyMask,
    make: Callable[[TrainConfig], Method],
) -> None:
    velocity = with_scheduler(tiny_checkpoint, prediction_type="v_prediction")
    method = make(replace(SHORT, steps=2))
    one = erase(tiny_checkpoint, tiny_data, mask, method)
    two = erase(velocity, tiny_data, mask, method)
    assert abs(one.history[0].retain - two.history[0].retain) > 1e-3
    assert (one.history[0].forget == two.history[0].forget) == isinstance(method, SalUn)
    assert two.unselected_identical is True
    scores = [
        measure_scores(c, tiny_data, ["conv_in.weight"], Measuring(config=SaliencyConfig()))[
            "conv_in.weight"
        ]
        for c in (tiny_checkpoint, velocity)
    ]
    assert not torch.allclose(*scores)


class Stop(BaseException):
    """Neither an Exception nor ours, like Ctrl-C."""


def stop_at(index: int) -> Callable[[Step], None]:
    def look(step: Step) -> None:
        if step.index == index:
            raise Stop

    return look


def saved_steps(path: Path) -> int:
    with safe_open(path, framework="pt") as file:
        return int(file.metadata()["done"])


def assert_same_edit(one: Edit, other: Edit) -> None:
    assert_same_bits(one.network, other.network)
    assert one.history == other.history
    created = {"created": "then"}
    assert replace(one.provenance.last, **created) == replace(other.provenance.last, **created)


@pytest.mark.default("0")
@pytest.mark.parametrize(
    ("seed", "settings"),
    [
        (0, {"optimizer": "adam"}),
        (1, {"optimizer": "adamw", "weight_decay": 0.1}),
        (2, {"optimizer": "sgd", "weight_decay": 5e-4}),
    ],
)
def test_an_interrupted_run_ends_with_the_bytes_of_an_unbroken_one(
    tiny_checkpoint: Checkpoint,
    tiny_data: ConceptData,
    mask: SaliencyMask,
    tmp_path: Path,
    seed: int,
    settings: dict[str, Any],
) -> None:
    config = replace(SHORT, steps=3, **settings)
    unbroken = erase(tiny_checkpoint, tiny_data, mask, salun(config))
    state = tmp_path / "state.safetensors"
    for stop in sorted(random.Random(seed).sample(range(1, 4), 2)):
        with pytest.raises(Stop):
            erase(
                tiny_checkpoint,
                tiny_data,
                mask,
                salun(config),
                state=state,
                on_step=stop_at(stop),
            )
        assert saved_steps(state) == stop
    steps: list[Step] = []
    result = erase(
        tiny_checkpoint, tiny_data, mask, salun(config), state=state, on_step=steps.append
    )
    assert_same_edit(result, unbroken)
    assert tuple(steps) == unbroken.history  # also of the steps before the interruption


@pytest.mark.slow
def test_state_is_saved_as_often_as_asked_and_a_finished_run_is_not_run_again(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, mask: SaliencyMask, tmp_path: Path
) -> None:
    state, seen = tmp_path / "state", []

    def look(step: Step) -> None:
        seen.append((step.index, saved_steps(state) if state.exists() else 0))

    def run(**settings: Any) -> Edit:  # noqa: ANN401
        return erase(tiny_checkpoint, tiny_data, mask, salun(SHORT), **settings)

    first = run(state=state, save_every=2, on_step=look)
    assert seen == [(1, 0), (2, 0), (3, 2), (4, 2)]
    assert saved_steps(state) == 4
    assert_same_edit(run(state=state), first)
    assert_same_edit(run(), first)


def poisoned(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Let SalUn give no number in one of its calls."""
    calls = 0
    plain = SalUn.__call__

    def give(self: SalUn, student: Denoiser, frozen: Denoiser, batch: PictureBatch, /) -> Loss:
        nonlocal calls
        calls += 1
        loss = plain(self, student, frozen, batch)
        return loss if calls != call else Loss(loss.forget * float("nan"), loss.retain)

    monkeypatch.setattr(SalUn, "__call__", give)


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_the_last_good_state(
    tiny_checkpoint: Checkpoint,
    tiny_data: ConceptData,
    mask: SaliencyMask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = tmp_path / "state"
    poisoned(monkeypatch, call=3)
    with pytest.raises(TrainingError, match=r"step 3: the loss is nan.*lower learning_rate"):
        erase(tiny_checkpoint, tiny_data, mask, salun(SHORT), state=state)
    assert saved_steps(state) == 2
    result = erase(tiny_checkpoint, tiny_data, mask, salun(SHORT), state=state)
    assert_same_edit(result, erase(tiny_checkpoint, tiny_data, mask, salun(SHORT)))


def test_a_run_that_fails_at_once_leaves_no_state(
    tiny_checkpoint: Checkpoint,
    tiny_data: ConceptData,
    mask: SaliencyMask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poisoned(monkeypatch, call=1)
    with pytest.raises(TrainingError, match="step 1"):
        erase(tiny_checkpoint, tiny_data, mask, salun(SHORT), state=tmp_path / "state")
    assert list(tmp_path.iterdir()) == []


def test_the_state_of_another_run_is_refused(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, mask: SaliencyMask, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    run = (tiny_checkpoint, tiny_data, mask, salun(SHORT))
    with pytest.raises(Stop):
        erase(*run, state=state, on_step=stop_at(1))
    content = state.read_bytes()
    moved = tiny_data.forget.mean.clone()
    moved[0, 0, 0, 0] += 1e-3
    others = {
        "checkpoint": with_scheduler(tiny_checkpoint, prediction_type="v_prediction"),
        "data": replace(tiny_data, forget=replace(tiny_data.forget, mean=moved)),
        "mask": random_mask(tiny_checkpoint, tiny_data),
        "method": salun(SHORT, alpha=0.9),
        "its seed": salun(replace(SHORT, seed=1)),
    }
    for place, other in zip((0, 1, 2, 3, 3), others.values(), strict=True):
        with pytest.raises(TrainingError, match="another model, mask, data or settings"):
            erase(*run[:place], other, *run[place + 1 :], state=state)
    assert state.read_bytes() == content


def test_a_mask_of_another_base_is_refused(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, mask: SaliencyMask
) -> None:
    weights = dict(tiny_checkpoint.network)
    weights["conv_in.bias"] = weights["conv_in.bias"] + 1
    other = replace(tiny_checkpoint, components={**tiny_checkpoint.components, "unet": weights})
    with pytest.raises(MaskError):
        erase(other, tiny_data, mask, salun(SHORT))
    unknown = mask.with_info(replace(mask.info, base=""))
    strange = SaliencyMask({"other.weight": torch.ones(1, dtype=torch.bool)}, unknown.info)
    with pytest.raises(MaskError):
        erase(tiny_checkpoint, tiny_data, strange, salun(SHORT))


def test_the_salient_mask_holds_the_largest_scores_of_the_whole_scope(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, mask: SaliencyMask
) -> None:
    scores = measure_scores(
        tiny_checkpoint, tiny_data, list(mask.entries), Measuring(config=SaliencyConfig())
    )
    inside = torch.cat([scores[name][chosen] for name, chosen in mask.entries.items()])
    left = torch.cat([scores[name][~chosen] for name, chosen in mask.entries.items()])
    assert float(inside.min()) >= float(left.max())
    assert len(inside) == len(left) == mask.total // 2
    assert list(mask.entries) == list(tiny_checkpoint.network)


def test_the_inverse_mask_is_the_other_half(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, mask: SaliencyMask
) -> None:
    assert mask.total % 2 == 0
    inverse = find_mask(tiny_checkpoint, tiny_data, "inverse")
    assert all(torch.equal(inverse.entries[n], ~chosen) for n, chosen in mask.entries.items())
    assert (inverse.info.kind, inverse.info.loss) == ("inverse", "guided")
    settings = {"draws": "1", "merge": "union", "precision": "fp32", "guidance_scale": "8.5"}
    settings["rest_of_model"] = tiny_checkpoint.digest_without("unet")
    assert inverse.info.measured == mask.info.measured == settings


def test_a_random_mask_depends_on_its_seed_alone_and_needs_no_pass(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summing, "moving_of", None)
    one = random_mask(tiny_checkpoint, tiny_data, density=0.25)
    same = random_mask(tiny_checkpoint, tiny_data, density=0.25, concept="other")
    other = random_mask(tiny_checkpoint, tiny_data, density=0.25, config=SaliencyConfig(seed=1))
    assert mask_hash(one) == mask_hash(same) != mask_hash(other)
    assert one.selected == int(0.25 * one.total)
    assert (one.info.kind, one.info.loss, one.info.seed) == ("random", "", 0)
    assert one.info.measured is None
    both = sum(int((one.entries[n] & other.entries[n]).sum()) for n in one.entries)
    assert both / one.selected == pytest.approx(0.25, abs=0.02)
    everything = find_mask(tiny_checkpoint, tiny_data, "all")
    assert everything.selected == everything.total == one.total


@pytest.mark.parametrize("kind", ["salient", "random", "inverse", "all"])
def test_only_weights_in_scope_are_candidates(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, kind: MaskKind
) -> None:
    passes: list[Pass] = []
    scoped = find_mask(
        tiny_checkpoint,
        tiny_data,
        kind,
        density=0.1,
        scope="xattn",
        concept="church",
        config=SaliencyConfig(loss="plain", seed=3, batch_size=3),
        on_pass=passes.append,
    )
    assert list(scoped.entries) == [name for name in tiny_checkpoint.network if "attn2" in name]
    assert scoped.selected == (scoped.total if kind == "all" else int(0.1 * scoped.total))
    info = scoped.info
    assert (info.scope, info.concept, info.seed) == ("xattn", "church", 3)
    assert info.base == tiny_checkpoint.network_hash()
    measured = kind in ("salient", "inverse")
    assert info.loss == ("plain" if measured else "")
    assert [p.done for p in passes] == ([3, 4] if measured else [])


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("best", {}, "mask is 'best'; give salient, random, inverse, all or a mask file"),
        ("salient", {"density": 0.0}, r"density is 0\.0"),
        ("all", {"density": 1.5}, r"density is 1\.5"),
        ("random", {"scope": "xatn"}, "did you mean 'xattn'"),
    ],
)
def test_settings_are_checked(
    tiny_checkpoint: Checkpoint,
    tiny_data: ConceptData,
    kind: Any,  # noqa: ANN401
    settings: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        find_mask(tiny_checkpoint, tiny_data, kind, **settings)


@pytest.mark.slow
def test_the_package_is_imported_without_diffusers() -> None:
    code = (
        "import erasure, sys\n"
        "assert not {'diffusers', 'transformers'} & set(sys.modules)\n"
        "assert all(hasattr(erasure, name) for name in erasure.__all__)"
    )
    said = command("-c", code)
    assert (said.code, said.err) == (0, "")
