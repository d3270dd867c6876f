"""Stable Diffusion 3 and 3.5 on tiny random pipelines: as diffusers, masked, erased, proved."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from support.console import erasure
from support.models.pipelines import diffusers_pipeline
from support.models.tiny_flow import write_sd3
from support.tiny import CPU, assert_same_bits, outside, random_pictures, seeded
from torch import Tensor

from erasure import erase, find_mask, read_checkpoint, verify, write_folder
from erasure.architectures.building import (
    build_codec,
    build_network,
    build_text_encoder,
    schedule_of,
)
from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.batches import PictureBatch
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.latents import Draw, noised
from erasure.diffusion.data.prompted import AnchorPixels
from erasure.diffusion.scores.measuring import measure_scores
from erasure.diffusion.scores.saliency import SaliencyConfig, forget_loss
from erasure.diffusion.scores.summing import Measuring
from erasure.errors import CheckpointError, ConfigError
from erasure.methods import ConceptAblation, GradientAscent, SalUn
from erasure.seeds import initial_noise
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter
from pipelines.drawing.requests import Request

KINDS = ["sd3", "sd35_medium", "sd35_large"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("sd3")
    return {kind: write_sd3(place / kind, kind, t5=kind != "sd35_large") for kind in KINDS}


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, Checkpoint]:
    return {kind: read_checkpoint(folder) for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def data(models: dict[str, Checkpoint]) -> ConceptData:
    return encoded(models["sd35_medium"])


def encoded(checkpoint: Checkpoint) -> ConceptData:
    forget, retain = random_pictures(["a church"] * 4), random_pictures(["a dog"] * 4, seed=1)
    return encode_concept(checkpoint, forget, {"a church": ["a castle"]}, retain)


# Parity with diffusers


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_known_by_its_transformer(models: dict[str, Checkpoint], kind: str) -> None:
    assert models[kind].architecture is ARCHITECTURES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_are_encoded_as_the_pipeline_does(models: dict[str, Checkpoint], kind: str) -> None:
    pipeline = diffusers_pipeline(models[kind])
    prompts = ["a church by a lake", ""]
    tokens, _, pooled, _ = pipeline.encode_prompt(
        prompts, None, None, do_classifier_free_guidance=False
    )
    conditions = build_text_encoder(models[kind])(prompts)
    torch.testing.assert_close(conditions.tokens, tokens.float())
    torch.testing.assert_close(conditions.named("pooled_projections"), pooled.float())


def test_without_t5_its_tokens_are_zeros_and_that_is_said(models: dict[str, Checkpoint]) -> None:
    condition = build_text_encoder(models["sd35_large"])(["a church"])
    assert not condition.tokens[:, 77:].any()
    assert condition.tokens[:, :77].any()
    (note,) = models["sd35_large"].notes
    assert "has no T5" in note
    assert "9.5 GB" in note


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_the_denoiser_is_that_of_the_pipeline(
    models: dict[str, Checkpoint], kind: str
) -> None:
    checkpoint = models[kind]
    pipeline = diffusers_pipeline(checkpoint)
    asked: list[dict[str, Any]] = []
    answers: list[Tensor] = []
    plain = pipeline.transformer.forward

    def spied(**arguments: Any) -> Any:  # noqa: ANN401
        answer = plain(**arguments)
        asked.append(arguments)
        answers.append(answer[0])
        return answer

    pipeline.transformer.forward = spied
    noise = initial_noise([3], (4, 8, 8))
    pipeline("a church", latents=noise, num_inference_steps=2, guidance_scale=1.0)
    denoise = checkpoint.architecture.denoiser(build_network(checkpoint))
    condition = build_text_encoder(checkpoint)(["a church"])
    for arguments, answer in zip(asked, answers, strict=True):
        with torch.no_grad():
            ours = denoise(arguments["hidden_states"], arguments["timestep"] / 1000, condition)
        torch.testing.assert_close(ours, answer, rtol=0, atol=2e-6)  # s is divided and multiplied


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_that_of_the_plain_pipeline(models: dict[str, Checkpoint], kind: str) -> None:
    pipeline = diffusers_pipeline(models[kind])
    painter = Painter(models[kind], DrawingConfig(steps=3, guidance=3.1), CPU)
    for request in (Request("a church", 3), Request("", 4, 1.0, width=24, height=16)):
        width, height = request.width or 16, request.height or 16
        plain = pipeline(
            request.prompt,
            latents=initial_noise([request.seed], (4, height // 2, width // 2)),
            num_inference_steps=3,
            guidance_scale=3.1 if request.guidance is None else request.guidance,
            width=width,
            height=height,
        ).images[0]
        (ours,) = painter.draw([request])
        apart = np.asarray(ours, dtype=np.int16) - np.asarray(plain, dtype=np.int16)
        assert np.abs(apart).max() <= 1  # both round to bytes
        assert np.asarray(ours).std() > 5  # there is something to see


def test_latents_are_shifted_and_scaled_as_the_pipeline_decodes_them(
    models: dict[str, Checkpoint],
) -> None:
    codec: Any = build_codec(models["sd3"])
    pixels = random_pictures(["x"] * 2).pixels.float() / 127.5 - 1
    mean, std = codec.encode(pixels)
    with torch.no_grad():
        plain = codec.network.encode(pixels).latent_dist
        torch.testing.assert_close(mean, (plain.mean - 0.0609) * 1.5305)
        torch.testing.assert_close(std, plain.std * 1.5305)
        back = codec.network.decode(mean / 1.5305 + 0.0609).sample
        torch.testing.assert_close(codec.decode(mean), back)


def test_a_batch_is_answered_as_its_samples_one_by_one(models: dict[str, Checkpoint]) -> None:
    checkpoint = models["sd35_medium"]
    denoise = checkpoint.architecture.denoiser(build_network(checkpoint))
    conditions = build_text_encoder(checkpoint)(["a church", "a dog", ""])
    x, s = torch.randn(3, 4, 8, 8, generator=seeded(1)), torch.tensor([0.9, 0.5, 0.02])
    with torch.no_grad():
        together = denoise(x, s, conditions)
        for n in range(3):
            row = torch.tensor([n])
            torch.testing.assert_close(
                denoise(x[row], s[row], conditions[row]), together[row], rtol=0, atol=1e-6
            )


@dataclass
class Perfect:
    """Called as the transformer is, it answers the true velocity, and checks the time."""

    x_0: Tensor
    noise: Tensor
    t: Tensor

    def __call__(self, *, hidden_states: Tensor, timestep: Tensor, **others: Any) -> tuple[Tensor]:  # noqa: ANN401
        assert torch.equal(timestep, 1000 * self.t)
        s = self.t.view(-1, 1, 1, 1)
        torch.testing.assert_close(hidden_states, (1 - s) * self.x_0 + s * self.noise)
        return (self.noise - self.x_0,)


def test_a_perfect_transformer_has_no_loss(
    models: dict[str, Checkpoint], data: ConceptData
) -> None:
    family, schedule = models["sd35_medium"].architecture, schedule_of(models["sd35_medium"])
    batch = noised(data.forget, data.prompts, schedule, [Draw(0, ("x", 0)), Draw(1, ("x", 1))])
    # x_s and v give back both ends of the line.
    s = batch.t.view(-1, 1, 1, 1)
    x_0, noise = batch.x_t - s * batch.target, batch.x_t + (1 - s) * batch.target
    network: Any = Perfect(x_0, noise, batch.t)
    losses = forget_loss(
        family.denoiser(network), batch, data.prompts, SaliencyConfig(loss="plain")
    )
    assert float(losses.abs().max()) < 1e-10


# Masks


def test_the_last_text_queries_alone_get_no_gradient(
    models: dict[str, Checkpoint], data: ConceptData
) -> None:
    checkpoint = models["sd35_medium"]
    names = checkpoint.architecture.candidates(checkpoint.network, "full")
    assert set(checkpoint.network) - set(names) == {"pos_embed.pos_embed"}
    scores = measure_scores(checkpoint, data, names, Measuring(config=SaliencyConfig(batch_size=2)))
    silent = {name for name in names if not scores[name].any()}
    last = "transformer_blocks.1.attn"
    assert silent == {f"{last}.{n}" for n in ("add_q_proj.weight", "add_q_proj.bias")} | {
        f"{last}.norm_added_q.weight"
    }


SCOPES = {
    "attn": {"attn", "text-attn"},
    "text-attn": {"text-attn"},
    "ff": {"ff"},
    "modulation": {"modulation"},
}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_selects_its_own_kinds_of_layer(models: dict[str, Checkpoint], scope: str) -> None:
    checkpoint = models["sd35_medium"]
    family = checkpoint.architecture
    chosen = set(family.candidates(checkpoint.network, scope))
    kinds = {name: family.layers.kind_of(name) for name in checkpoint.network}
    assert chosen == {name for name, kind in kinds.items() if kind in SCOPES[scope]}
    assert "other" not in {family.layers.block_of(name) for name in checkpoint.network}


def test_keys_and_values_are_those_of_picture_text_and_second_attention(
    models: dict[str, Checkpoint],
) -> None:
    checkpoint = models["sd35_medium"]
    chosen = checkpoint.architecture.candidates(checkpoint.network, "kv")
    block = {n.removeprefix("transformer_blocks.0.") for n in chosen if ".0." in n}
    layers = ("attn.to_k", "attn.to_v", "attn.add_k_proj", "attn.add_v_proj")
    layers += ("attn2.to_k", "attn2.to_v")
    assert block == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}


@pytest.mark.parametrize(("scope", "instead"), [("xattn", "'text-attn'"), ("single", "'double'")])
def test_a_scope_of_other_models_is_refused_with_what_to_take(
    models: dict[str, Checkpoint], scope: str, instead: str
) -> None:
    with pytest.raises(ConfigError, match=f"scope '{scope}' is of other models: .*{instead}"):
        models["sd3"].architecture.candidates(models["sd3"].network, scope)


# Erasing


def answer_gap(checkpoint: Checkpoint, weights: Mapping[str, Tensor], data: ConceptData) -> float:
    """Mean squared distance of the answers to the forget prompt and to its replacement."""
    network = build_network(checkpoint)
    network.load_state_dict(dict(weights))
    denoise = checkpoint.architecture.denoiser(network)
    x, s = torch.randn(4, 4, 8, 8, generator=seeded(7)), torch.tensor([0.9, 0.7, 0.5, 0.3])
    with torch.no_grad():
        one, other = (denoise(x, s, data.prompts[torch.full((4,), row)]) for row in (1, 2))
    return float((one - other).square().mean())


@pytest.mark.default("GradientAscent")
@pytest.mark.parametrize("method", [SalUn, GradientAscent])
def test_a_concept_is_erased_and_the_folder_loads_in_diffusers(
    models: dict[str, Checkpoint], data: ConceptData, tmp_path: Path, method: type[SalUn]
) -> None:
    checkpoint = models["sd35_medium"]
    mask = find_mask(checkpoint, data, density=0.5, concept="church")
    settings = method(steps=8 if method is SalUn else 1, batch_size=4, learning_rate=5e-3)
    edit = erase(checkpoint, data, mask, settings, concept="church")
    before = answer_gap(checkpoint, checkpoint.network, data)
    after = answer_gap(checkpoint, edit.network, data)
    assert before > 1e-6  # the effect is there before erasing
    if method is SalUn:
        assert after < before / 2
    assert edit.unselected_identical is True
    assert_same_bits(
        {name: edit.network[name] for name in mask.entries},
        {name: checkpoint.network[name] for name in mask.entries},
        outside(mask.entries),
    )
    assert "logit-normal" in edit.provenance.last.config["facts"]["times"]
    out = tmp_path / "erased"
    write_folder(checkpoint, out, network=edit.network, provenance=edit.provenance)
    assert verify(out).passed
    loaded = StableDiffusion3Pipeline.from_pretrained(out, local_files_only=True)
    assert_same_bits(loaded.transformer.state_dict(), dict(edit.network))


def test_the_times_at_which_anchors_were_noised_are_in_the_record(
    models: dict[str, Checkpoint],
) -> None:
    checkpoint = models["sd35_large"]
    anchors = AnchorPixels(random_pictures(["a castle"] * 2), ["a church"] * 2)
    drawn = encode_concept(checkpoint, None, {}, anchors=anchors)
    mask = find_mask(checkpoint, drawn, "all", scope="kv")
    edit = erase(checkpoint, drawn, mask, ConceptAblation(steps=1, batch_size=2))
    assert "logit-normal" in edit.provenance.last.config["facts"]["times"]


def test_random_label_has_no_loss_where_the_label_stays_and_one_gradient_else(
    models: dict[str, Checkpoint], data: ConceptData
) -> None:
    checkpoint = models["sd35_medium"]
    network = build_network(checkpoint).requires_grad_(True)
    denoise = checkpoint.architecture.denoiser(network)
    shown = noised(data.forget, data.prompts, schedule_of(checkpoint), [Draw(0, ("x", 0))])
    frozen: Any = denoise
    same = SalUn()(denoise, frozen, PictureBatch(shown, shown.condition, None))
    assert float(same.forget.detach()) == 0.0
    other = data.prompts[data.replacements[:1, 0]]
    loss = SalUn()(denoise, frozen, PictureBatch(shown, other, None)).forget
    loss.backward()
    weight = network.get_parameter("proj_out.weight")
    assert weight.grad is not None
    gradient, weight.grad = weight.grad.clone(), None
    with torch.no_grad():
        target = denoise(shown.x_t, shown.t, other)
    (denoise(shown.x_t, shown.t, shown.condition) - target).square().mean().backward()
    torch.testing.assert_close(gradient, weight.grad)


# The command line


@pytest.fixture(scope="module")
def run(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run")
    drawn = ["--forget-drawn", "2", "--retain-drawn", "2", "--draws", "1", "--seeds", "0"]
    recipe = place / "quick.toml"
    recipe.write_text(
        f'cache = "{place / "cache"}"\n[data.drawing]\nsteps = 1\n'
        '[grid]\nprompts = ["a church"]\n[grid.drawing]\nsteps = 1\n'
    )
    line = ["--recipe", recipe, "--concept", "church", "--steps", "2", *drawn]
    said = erasure("erase", folders["sd3"], *line, "--out", place / "church")
    assert said.code == 0, said.err
    assert "predicts flow" in said.err
    return place / "church"


@pytest.mark.slow
def test_an_erased_model_goes_out_as_a_published_file_and_back(
    run: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    file, back = tmp_path / "church.safetensors", tmp_path / "back"
    assert erasure("verify", run).code == 0
    said = erasure("export", run, "--out", file, "--json")
    assert said.code == 0, said.err
    hash_of_run = read_checkpoint(run / "model").network_hash()
    assert json.loads(said.out)["transformer"] == hash_of_run
    said = erasure("verify", file, "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["verified"] is True
    assert json.loads(said.out)["transformer"] == hash_of_run
    line = ["--config", folders["sd3"], "--to", "diffusers"]
    said = erasure("export", file, *line, "--out", back)
    assert said.code == 0, said.err
    assert read_checkpoint(back).network_hash() == hash_of_run
    alone = erasure("export", file, "--to", "diffusers", "--out", tmp_path / "alone")
    assert alone.code == 2
    assert "has no text encoder; give --config FOLDER" in alone.err


def test_nothing_that_a_run_leaves_or_says_of_it_calls_the_transformer_a_unet(
    run: Path, folders: dict[str, Path]
) -> None:
    texts = [path for path in run.rglob("*") if path.suffix in (".json", ".md", ".toml", ".csv")]
    assert {"erasure.json", "README.md", "recipe.toml"} <= {path.name for path in texts}
    assert [path for path in texts if "unet" in path.read_text(encoding="utf-8").lower()] == []
    line = ["--concept", "church", "--forget-drawn", "2", "--retain-drawn", "2"]
    for said in (
        erasure("verify", run),
        erasure("verify", run, "--json"),
        erasure("erase", folders["sd3"], *line, "--dry-run", "--out", run.with_name("planned")),
    ):
        assert said.code == 0, said.err
        assert "transformer" in said.out
        assert "unet" not in said.out.lower()


def test_a_patch_takes_the_base_to_the_edit(
    run: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    patch, out = tmp_path / "church.safetensors", tmp_path / "patched"
    said = erasure("export", run, "--to", "patch", "--base", folders["sd3"], "--out", patch)
    assert said.code == 0, said.err
    said = erasure("patch", "apply", folders["sd3"], patch, "--out", out)
    assert said.code == 0, said.err
    assert "transformer" in said.out
    assert "unet" not in said.out.lower()
    assert read_checkpoint(out).network_hash() == read_checkpoint(run / "model").network_hash()


# Bad input


def test_files_of_t5s_tokenizer_are_asked_for(models: dict[str, Checkpoint]) -> None:
    described = models["sd3"].description
    lacking = replace(models["sd3"], description=described.speaking(tokenizer_3={}))
    with pytest.raises(CheckpointError, match=r"no files of T5's tokenizer .* give config=FOLDER"):
        build_text_encoder(lacking)


def test_a_size_that_cannot_be_cut_into_patches_is_refused(models: dict[str, Checkpoint]) -> None:
    family = models["sd3"].architecture
    with pytest.raises(ConfigError, match=r"18 x 16 pixels cannot be cut .* multiples of 4"):
        family.latent_shape(models["sd3"].description, 16, 18)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"use_karras_sigmas": True}, "has use_karras_sigmas True"),
        ({"shift": -1.0}, "has shift -1.0, and a finite number above 0"),
        ({"_class_name": "DDIMScheduler"}, "is 'DDIMScheduler', and a transformer of rectified"),
    ],
)
def test_another_scheduler_is_refused(
    folders: dict[str, Path], tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    folder = shutil.copytree(folders["sd3"], tmp_path / "model")
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(folder)


def test_a_prediction_that_is_none_of_a_flow_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError, match="prediction says epsilon; leave that out"):
        read_checkpoint(folders["sd3"], prediction="epsilon")


def test_a_sampler_of_betas_is_refused(models: dict[str, Checkpoint]) -> None:
    with pytest.raises(ConfigError, match="take ddim or euler"):
        Painter(models["sd3"], DrawingConfig(steps=2), CPU, scheduler="lms")
