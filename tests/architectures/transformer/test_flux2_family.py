"""FLUX.2 klein on tiny random pipelines: as diffusers, masked, erased, proved."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline, Flux2Transformer2DModel
from diffusers.loaders.single_file_utils import (
    convert_flux2_transformer_checkpoint_to_diffusers as to_theirs,
)
from safetensors.torch import save_file
from support.models.pipelines import diffusers_pipeline
from support.models.tiny_chat import tiny_qwen_tokenizer, write_flux2
from support.tiny import assert_same_bits, random_pictures, seeded

from erasure import erase, find_mask, read_checkpoint, write_folder
from erasure.architectures.building import (
    build_codec,
    build_text_encoder,
    schedule_of,
)
from erasure.architectures.patch_codec import in_patches, out_of_patches
from erasure.architectures.transformer.flux2 import shift_of
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.layout import flux2
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.scores.measuring import measure_scores
from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.diffusion.scores.summing import Measuring
from erasure.errors import CheckpointError, ConfigError
from erasure.methods import Uce


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flux2(tmp_path_factory.mktemp("flux2") / "klein")


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return read_checkpoint(folder)


@pytest.fixture(scope="module")
def data(checkpoint: Checkpoint) -> ConceptData:
    forget, retain = random_pictures(["a church"] * 2), random_pictures(["a dog"] * 2, seed=1)
    instead = {"a church": ["a castle"]}
    return encode_concept(
        checkpoint, forget, instead, retain, prompts=PromptLists(["a church"], ["a dog"])
    )


# Parity with diffusers


def test_latents_are_cut_into_patches_as_the_pipeline_does() -> None:
    x = torch.randn(2, 3, 4, 6, generator=seeded())
    assert torch.equal(in_patches(x), Flux2KleinPipeline._patchify_latents(x))
    assert torch.equal(out_of_patches(in_patches(x)), x)


def test_pictures_are_encoded_as_the_pipeline_does(checkpoint: Checkpoint) -> None:
    pipeline, codec = diffusers_pipeline(checkpoint), build_codec(checkpoint)
    pixels = torch.rand(2, 3, 16, 24, generator=seeded()) * 2 - 1
    mean, deviation = codec.encode(pixels)
    theirs = pipeline._encode_vae_image(pixels, seeded())
    torch.testing.assert_close(mean, theirs, rtol=0, atol=1e-6)
    assert deviation.shape == mean.shape == (2, 16, 4, 6)
    assert float((deviation - deviation.mean()).abs().max()) > 0


def test_the_shift_of_the_times_is_the_one_that_the_makers_measured() -> None:
    from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

    for tokens, steps in ((256, 4), (4096, 50), (4300, 28), (4301, 28)):
        assert shift_of(tokens, steps) == compute_empirical_mu(tokens, steps)


def test_names_and_values_of_a_published_file_are_those_of_diffusers(
    checkpoint: Checkpoint,
) -> None:
    original = flux2.to_original(checkpoint.network)
    assert_same_bits(to_theirs(dict(original)), dict(checkpoint.network))
    assert_same_bits(flux2.to_diffusers(original), dict(checkpoint.network))
    # A row of the second of three fused layers, and the halves that are exchanged.
    base = checkpoint.network["transformer_blocks.0.attn.add_k_proj.weight"]
    assert torch.equal(original["double_blocks.0.txt_attn.qkv.weight"][32 + 5], base[5])
    last = checkpoint.network["norm_out.linear.weight"]
    assert torch.equal(original["final_layer.adaLN_modulation.1.weight"][0], last[32])


def test_the_published_size_has_as_many_weights_as_is_said() -> None:
    with torch.device("meta"):
        network = Flux2Transformer2DModel(
            num_layers=5,
            num_single_layers=20,
            num_attention_heads=24,
            joint_attention_dim=7680,
            guidance_embeds=False,
        )
    weights = network.state_dict()
    assert round(sum(weight.numel() for weight in weights.values()) / 1e9, 2) == 3.88
    original = flux2.to_original(weights)
    assert {n: w.shape for n, w in flux2.to_diffusers(original).items()} == {
        n: w.shape for n, w in weights.items()
    }


# Masks, erasing and files


def test_every_weight_gets_a_gradient_and_the_scopes_say_what_they_mean(
    checkpoint: Checkpoint, data: ConceptData
) -> None:
    family, names = checkpoint.architecture, list(checkpoint.network)
    assert family.candidates(names, "full") == names
    scores = measure_scores(checkpoint, data, names, Measuring(config=SaliencyConfig(batch_size=2)))
    assert {name for name in names if not scores[name].any()} == set()
    double, one = "transformer_blocks.0", "single_transformer_blocks.0"
    assert set(family.candidates(names, "text-attn")) == {
        f"{double}.attn.{part}.weight"
        for part in ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
    }
    assert set(family.candidates(names, "kv")) == {
        f"{double}.attn.{part}.weight" for part in ("to_k", "to_v", "add_k_proj", "add_v_proj")
    }
    assert {n for n in family.candidates(names, "attn") if n.startswith(one)} == {
        f"{one}.attn.{part}.weight" for part in ("to_qkv_mlp_proj", "to_out")
    }
    assert set(family.candidates(names, "modulation")) == {
        *(f"double_stream_modulation_{side}.linear.weight" for side in ("img", "txt")),
        *("single_stream_modulation.linear.weight", "norm_out.linear.weight"),
    }
    assert family.candidates(names, "text-in") == ["context_embedder.weight"]
    with pytest.raises(ConfigError, match=r"'xattn' is of other models: .* take 'text-attn'"):
        family.candidates(names, "xattn")
    blocks = {family.layers.block_of(name) for name in names}
    assert blocks == {"in", "text", "time", "double.0", "single.0", "out"}


def test_a_head_of_its_own_comes_back_as_it_was(tmp_path: Path) -> None:
    base = read_checkpoint(write_flux2(tmp_path / "untied", tied=False))
    assert "lm_head.weight" in base.components["text_encoder"]
    write_folder(base, tmp_path / "again")
    again = read_checkpoint(tmp_path / "again")
    assert_same_bits(dict(again.components["text_encoder"]), dict(base.components["text_encoder"]))
    assert "lm_head.weight" not in again.extras


# Bad input


def test_a_distilled_model_is_said_to_be_one_and_has_no_guidance(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(write_flux2(tmp_path / "distilled", distilled=True))
    (note,) = checkpoint.notes
    assert "distilled to 4 steps" in note
    assert "FLUX.2-klein-base" in note
    with pytest.raises(ConfigError, match="there is no guidance away from the empty prompt"):
        checkpoint.architecture.require_guidance("take another loss")


def test_a_model_that_is_told_its_guidance_is_called_by_its_name(checkpoint: Checkpoint) -> None:
    config = {**checkpoint.description.components["transformer"], "guidance_embeds": True}
    described = checkpoint.description.having(transformer=config)
    with pytest.raises(
        CheckpointError, match=r"as FLUX\.2 dev is; .* give a model of FLUX\.2 klein"
    ):
        checkpoint.architecture.check_configs(described, "this")


def test_another_chat_template_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    tiny_qwen_tokenizer("{{ messages[0].content }}").save_pretrained(tmp_path / "words")
    files = {file.name: file.read_bytes() for file in (tmp_path / "words").iterdir()}
    other = replace(checkpoint, description=checkpoint.description.speaking(tokenizer=files))
    with pytest.raises(CheckpointError, match=r"no <\|im_start\|> and no .* in its chat template"):
        build_text_encoder(other)


def test_times_are_shifted_as_in_drawing(checkpoint: Checkpoint) -> None:
    schedule: Any = schedule_of(checkpoint)
    assert schedule.shift == pytest.approx(np.exp(shift_of(4096, 50)))


def test_uce_leads_the_words_of_the_concept_to_those_of_its_replacement(
    checkpoint: Checkpoint, data: ConceptData
) -> None:
    mask = find_mask(checkpoint, data, "all", scope="text-in")
    edit = erase(checkpoint, data, mask, Uce(ridge=1e-6, preserve_weight=1e-3))
    name = "context_embedder.weight"
    assert data.texts is not None
    one, other = (data.prompts.tokens[n, data.texts.last[n]].double() for n in (1, 2))
    old, new = checkpoint.network[name].double(), edit.network[name].double()
    gap = float((old @ one - old @ other).norm())
    assert gap > 1e-3  # the effect is there before erasing
    assert float((new @ one - old @ other).norm()) < gap / 50


def test_the_published_autoencoder_is_taken_in_the_place_of_the_model_s(tmp_path: Path) -> None:
    folder = write_flux2(tmp_path / "model")
    model = read_checkpoint(folder)
    part = model.architecture.part("vae")
    other = {n: w + 1 if n.endswith("bias") else w for n, w in model.components["vae"].items()}
    published = part.to_original(other)
    # The names of the published file, which has these two within encoder and decoder.
    assert {"encoder.quant_conv.weight", "decoder.post_quant_conv.weight"} < published.keys()
    assert {"bn.running_mean", "encoder.down.0.block.0.conv1.weight"} < published.keys()
    save_file({n: w.contiguous() for n, w in published.items()}, tmp_path / "ae.safetensors")
    again = read_checkpoint(folder, vae=tmp_path / "ae.safetensors")
    assert all(torch.equal(again.components["vae"][n], w) for n, w in other.items())
    assert again.description.model_index["vae"] == ["diffusers", "AutoencoderKLFlux2"]
