"""What flow transformers can be used for, and what is refused with the reason."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import SD3Transformer2DModel
from safetensors.torch import load_file, save_file
from support.attacked import same, tiny_target, weights_of
from support.models.tiny_flow import write_flux, write_sd3
from support.tiny import CPU, assert_same_bits, random_pictures, seeded

from erasure import erase, find_mask, read_checkpoint
from erasure.attacks.payload import Start
from erasure.attacks.protocol import NOT_ON_FLOWS, OF_TOKENS, lacking
from erasure.attacks.registry import ATTACKS, make_attack
from erasure.checkpoints import write_single_file
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.denoiser import Condition
from erasure.diffusion.schedule import RectifiedFlow
from erasure.errors import CheckpointError, ConfigError
from erasure.methods import METHODS, Esd, SalUn
from erasure.seeds import initial_noise
from erasure.training.step import Step
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter, Request


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sd3(tmp_path_factory.mktemp("uses") / "sd3", "sd35_large", t5=False)


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return read_checkpoint(folder)


@pytest.fixture(scope="module")
def data(checkpoint: Checkpoint) -> ConceptData:
    forget, retain = random_pictures(["a church"] * 2), random_pictures(["a dog"] * 2, seed=1)
    prompts = PromptLists(["a church"], ["a dog"])
    return encode_concept(checkpoint, forget, {"a church": ["a castle"]}, retain, prompts=prompts)


def test_shards_and_variants_are_read_as_the_whole(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    shutil.rmtree(other / "transformer")
    network = SD3Transformer2DModel.from_pretrained(folder, subfolder="transformer")
    network.half().save_pretrained(other / "transformer", max_shard_size="60KB", variant="fp16")
    assert len(list((other / "transformer").glob("*.safetensors"))) > 1
    half = read_checkpoint(other)
    assert_same_bits(dict(half.network), dict(network.state_dict()))


class Stop(Exception):
    """Ends a run."""


@pytest.mark.slow
def test_a_run_that_was_cut_ends_as_one_that_was_not(
    checkpoint: Checkpoint, data: ConceptData, tmp_path: Path
) -> None:
    mask = find_mask(checkpoint, data, "random", density=0.3, scope="text-attn")
    method = SalUn(steps=3, batch_size=2, learning_rate=1e-3)
    whole = erase(checkpoint, data, mask, method)

    def cut(step: Step) -> None:
        if step.index == 2:
            raise Stop

    state = tmp_path / "state.safetensors"
    with pytest.raises(Stop):
        erase(checkpoint, data, mask, method, state=state, on_step=cut)
    again = erase(checkpoint, data, mask, method, state=state)
    assert_same_bits(dict(again.network), dict(whole.network))


@pytest.mark.parametrize("name", ["leco", "sdd", "erasediff"])
def test_other_methods_of_prompts_and_pictures_run(
    checkpoint: Checkpoint, data: ConceptData, name: str
) -> None:
    mask = find_mask(checkpoint, data, "random", density=0.3, scope="attn")
    settings: dict[str, Any] = {"steps": 1, "batch_size": 1, "learning_rate": 1e-3}
    if name != "erasediff":
        settings["rollout_steps"] = 3
    edit = erase(checkpoint, data, mask, METHODS[name](**settings))
    assert edit.provenance.last.moved > 0


@pytest.mark.parametrize("name", ["rece", "speed", "mace"])
def test_closed_forms_of_cross_attention_say_what_is_missing(
    checkpoint: Checkpoint, data: ConceptData, name: str
) -> None:
    mask = find_mask(checkpoint, data, "all", scope="text-in")
    with pytest.raises(ConfigError, match=r"has no cross-attention, which is what .* take uce"):
        erase(checkpoint, data, mask, METHODS[name]())


@pytest.mark.parametrize("kind", [Esd, SalUn])
def test_an_adversary_hardens_a_flow_whose_text_is_read_by_clip(
    checkpoint: Checkpoint, data: ConceptData, kind: type[Esd | SalUn]
) -> None:
    mask = find_mask(checkpoint, data, "random", density=0.1, scope="attn")
    settings: dict[str, Any] = {"steps": 1, "batch_size": 1, "learning_rate": 1e-3}
    if kind is Esd:
        settings["rollout_steps"] = 2
    plain, hard = (erase(checkpoint, data, mask, kind(**settings, harden=n)) for n in (0, 1))
    assert hard.provenance.last.moved > 0
    name = next(iter(mask.entries))
    assert not torch.equal(plain.network[name], hard.network[name])


def test_an_adversary_of_words_says_what_t5_lacks(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(write_flux(tmp_path / "flux"))
    prompts = PromptLists(["a church"], ["a dog"])
    data = encode_concept(checkpoint, None, {"a church": ["a castle"]}, prompts=prompts)
    mask = find_mask(checkpoint, data, "random", density=0.1, scope="attn")
    method = Esd(steps=1, rollout_steps=3, harden=1)
    with pytest.raises(ConfigError, match=r"FLUX.1 dev reads prompts by other .* set harden to 0"):
        erase(checkpoint, data, mask, method)


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
    weights = [one.payload.weights for one in tuning.run(target) if one.payload.weights]
    assert any(not torch.equal(w[name], before[name]) for w in weights for name in w)
    assert same(weights_of(target.network), before)


def test_every_attack_runs_on_a_flow_or_is_skipped_with_the_reason(checkpoint: Checkpoint) -> None:
    target = tiny_target(checkpoint)
    reasons = {name: lacking(ATTACKS[name], target) for name in ATTACKS}
    assert {name for name, reason in reasons.items() if reason} == set(NOT_ON_FLOWS)
    for name in NOT_ON_FLOWS:
        assert "Stable Diffusion 3.5 Large is a rectified flow: " in reasons[name]
    with pytest.raises(ConfigError, match="does not noise in discrete steps"):
        list(make_attack("inversion").run(target))


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
        assert target.embedded(tries[0].payload.prompt, rows).tokens.isfinite().all()
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
    with pytest.raises(ConfigError, match="no fresh noise"):
        next(iter(painter.draw([Request("a church", 5, eta=1.0)])))


def test_words_of_clip_are_no_words_of_t5(tmp_path: Path) -> None:
    target = tiny_target(read_checkpoint(write_flux(tmp_path / "flux")))
    for name in OF_TOKENS:
        said = lacking(ATTACKS[name], target)
        assert "FLUX.1 dev reads CLIPTokenizer" in said
        assert "T5Tokenizer" in said
    for name in ("prefixes", "completion", "inpainting"):
        assert lacking(ATTACKS[name], target) == ""
    assert list(make_attack("prefixes", draws=2).run(target))


def test_a_transformer_alone_under_diffusers_names_is_read_with_a_folder(
    checkpoint: Checkpoint, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "alone.safetensors"
    save_file({name: value.contiguous() for name, value in checkpoint.network.items()}, file)
    again = read_checkpoint(file, config=folder)
    assert again.in_file == {"transformer"}
    assert_same_bits(dict(again.network), dict(checkpoint.network))
    with pytest.raises(CheckpointError, match=r"give .*config=FOLDER"):
        read_checkpoint(file)


def test_a_file_that_held_the_text_encoders_is_written_with_them(
    checkpoint: Checkpoint, folder: Path, tmp_path: Path
) -> None:
    whole = replace(checkpoint, in_file=frozenset(checkpoint.components))
    file = write_single_file(whole, tmp_path / "whole.safetensors").path
    again = read_checkpoint(file)  # configs and vocabularies are in its header
    assert again.in_file == set(checkpoint.components)
    assert again.network_hash() == checkpoint.network_hash()
    for component, weights in checkpoint.components.items():
        assert_same_bits(dict(again.components[component]), dict(weights))
    assert any("has no T5" in note for note in again.notes)


def test_a_quantised_transformer_is_called_one(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    file = other / "transformer" / "diffusion_pytorch_model.safetensors"
    scale = {"transformer_blocks.0.attn.to_q.weight_scale": torch.ones(1)}
    save_file({**load_file(file), **scale}, file)
    with pytest.raises(
        CheckpointError, match=r"a quantised transformer .* quantise what comes out"
    ):
        read_checkpoint(other)
