"""Qwen-Image on a tiny random pipeline: its lengths after guidance, its scopes, its refusals."""

from dataclasses import replace

import pytest
import torch
from diffusers import QwenImageTransformer2DModel
from support.models.pipelines import diffusers_pipeline
from support.models.tiny_chat import write_qwen_image
from support.tiny import CPU, random_pictures, seeded

from erasure import read_checkpoint
from erasure.architectures.building import (
    build_codec,
    build_network,
    build_text_encoder,
    schedule_of,
)
from erasure.architectures.transformer.packing import packed
from erasure.architectures.transformer.qwen_image import renormed
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.scores.measuring import measure_scores
from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.diffusion.scores.summing import Measuring
from erasure.errors import CheckpointError, ConfigError
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return read_checkpoint(write_qwen_image(tmp_path_factory.mktemp("q") / "q"))


@pytest.fixture(scope="module")
def data(checkpoint: Checkpoint) -> ConceptData:
    forget, retain = random_pictures(["a church"] * 2), random_pictures(["a dog"] * 2, seed=1)
    prompts = PromptLists(["a church"], ["a dog"])
    return encode_concept(checkpoint, forget, {"a church": ["a castle"]}, retain, prompts=prompts)


def test_a_guided_answer_is_as_long_as_the_plain_one_in_each_patch() -> None:
    guided, plain = torch.randn(2, 2, 4, 4, 6, generator=seeded())
    made = renormed(guided, plain)
    torch.testing.assert_close(packed(made).norm(dim=-1), packed(plain).norm(dim=-1))
    aligned = torch.cosine_similarity(packed(made), packed(guided), dim=-1)
    torch.testing.assert_close(aligned, torch.ones_like(aligned))


def test_latents_are_in_units_of_their_channel_and_come_back(checkpoint: Checkpoint) -> None:
    codec, pipeline = build_codec(checkpoint), diffusers_pipeline(checkpoint)
    pixels = torch.rand(1, 3, 16, 24, generator=seeded()) * 2 - 1
    mean, deviation = codec.encode(pixels)
    with torch.no_grad():
        theirs = pipeline.vae.encode(pixels[:, :, None]).latent_dist
        shift, scale = (torch.tensor(pipeline.vae.config[name])[:, None, None] for name in _NAMES)
        torch.testing.assert_close(mean, (theirs.mean[:, :, 0] - shift) / scale)
        torch.testing.assert_close(deviation, theirs.std[:, :, 0] / scale)
        plain = pipeline.vae.decode(theirs.mean, return_dict=False)[0][:, :, 0]
        torch.testing.assert_close(codec.decode(mean), plain, rtol=0, atol=1e-5)


_NAMES = ("latents_mean", "latents_std")


def test_a_network_that_has_drawn_can_be_trained(checkpoint: Checkpoint) -> None:
    network, text = build_network(checkpoint), build_text_encoder(checkpoint)
    denoise, x = checkpoint.architecture.denoiser(network), torch.zeros(1, 4, 4, 6)
    with torch.inference_mode():
        drawn = denoise(x, torch.ones(1), text(["a dog"]))
    network.requires_grad_(True)
    trained = denoise(x, torch.ones(1), text(["a dog"]))
    trained.sum().backward()
    torch.testing.assert_close(trained.detach(), drawn.clone())


def test_the_published_size_has_as_many_weights_as_is_said() -> None:
    with torch.device("meta"):
        network = QwenImageTransformer2DModel()
    assert round(sum(weight.numel() for weight in network.parameters()) / 1e9, 1) == 20.4


def test_what_the_last_block_makes_of_the_text_alone_gets_no_gradient(
    checkpoint: Checkpoint, data: ConceptData
) -> None:
    family, names = checkpoint.architecture, list(checkpoint.network)
    assert family.candidates(names, "full") == names
    scores = measure_scores(checkpoint, data, names, Measuring(config=SaliencyConfig(batch_size=2)))
    last = "transformer_blocks.1."
    silent = {name for name in names if not scores[name].any()}
    assert silent
    parts = ("attn.add_q_proj", "attn.norm_added_q", "attn.to_add_out", "txt_mlp")
    assert all(name.startswith(tuple(f"{last}{part}." for part in parts)) for name in silent)
    assert {name.removeprefix(last).rpartition(".")[0] for name in silent} >= {
        *("attn.add_q_proj", "attn.norm_added_q", "attn.to_add_out", "txt_mlp.net.2")
    }


def test_scopes_mean_what_they_mean_elsewhere(checkpoint: Checkpoint) -> None:
    family, names = checkpoint.architecture, list(checkpoint.network)
    block = "transformer_blocks.0."
    modules = {
        scope: {
            name.removeprefix(block).rpartition(".")[0]
            for name in family.candidates(names, scope)
            if name.startswith(block)
        }
        for scope in ("kv", "text-attn", "modulation", "ff")
    }
    assert modules == {
        "kv": {f"attn.{part}" for part in ("to_k", "to_v", "add_k_proj", "add_v_proj")},
        "text-attn": {
            f"attn.{part}" for part in ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
        },
        "modulation": {"img_mod.1", "txt_mod.1"},
        "ff": {f"{side}_mlp.net.{part}" for side in ("img", "txt") for part in ("0.proj", "2")},
    }
    assert {name.rpartition(".")[0] for name in family.candidates(names, "text-in")} == {
        *("txt_norm", "txt_in")
    }


def test_its_last_level_is_read_and_others_that_change_the_times_are_refused(
    checkpoint: Checkpoint,
) -> None:
    schedule_of(checkpoint)
    config = {**checkpoint.description.scheduler, "use_karras_sigmas": True}
    other = replace(checkpoint, description=replace(checkpoint.description, scheduler=config))
    with pytest.raises(CheckpointError, match="use_karras_sigmas True, which makes other times"):
        schedule_of(other)


def test_a_single_step_cannot_reach_the_last_level(checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match=r"two to reach its .* 0\.02\); give 2 or more"):
        Painter(checkpoint, DrawingConfig(steps=1), CPU, 16)


def test_a_vae_without_a_deviation_for_each_channel_is_refused(checkpoint: Checkpoint) -> None:
    config = {**checkpoint.description.components["vae"], "latents_std": [1.0, 0.0, 1.0, 1.0]}
    described = checkpoint.description.having(vae=config)
    with pytest.raises(CheckpointError, match="4 numbers must stand there, above 0"):
        checkpoint.architecture.check_configs(described, "this")
