"""Families that read a language model, on tiny random pipelines: as diffusers, erased, proved."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.models.pipelines import diffusers_pipeline
from support.models.tiny_chat import write_flux2, write_qwen_image, write_z_image
from support.tiny import CPU, assert_same_bits, outside, random_pictures, seeded
from torch import Tensor

from erasure import erase, find_mask, read_checkpoint, verify, write_folder
from erasure.architectures.building import build_network, build_text_encoder
from erasure.architectures.registry import ARCHITECTURES
from erasure.architectures.text.chat_encoders import ATTENDED
from erasure.architectures.transformer.packing import packed
from erasure.checkpoints import write_single_file
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.errors import CheckpointError, ConfigError
from erasure.methods import METHODS
from erasure.pass_costs import decoder_cost, encoder_cost, network_cost
from erasure.seeds import initial_noise
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter
from pipelines.drawing.requests import Request


@dataclass(frozen=True)
class Family:
    """What the tests of one family differ in."""

    write: Callable[[Path], Path]
    shape: tuple[int, int]
    """Channels of the latents, and how many pixels a side one stands for."""
    settings: Callable[[float], Mapping[str, Any]]
    """Guidance -> how the pipeline is told it."""
    told_to_pipeline: Callable[[Tensor], Tensor] = lambda latents: latents
    """How the pipeline takes its first latents."""


FAMILIES = {
    "flux2_klein": Family(write_flux2, (16, 4), lambda g: {"guidance_scale": g}),
    "z_image": Family(write_z_image, (4, 2), lambda g: {"guidance_scale": g - 1}),
    "qwen_image": Family(
        write_qwen_image,
        (4, 2),
        lambda g: {"true_cfg_scale": g, "negative_prompt": ""},
        packed,
    ),
}


@pytest.fixture(scope="module", params=FAMILIES)
def key(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def folder(key: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FAMILIES[key].write(tmp_path_factory.mktemp("chat") / key)


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return read_checkpoint(folder)


@pytest.fixture(scope="module")
def pipeline(checkpoint: Checkpoint) -> Any:  # noqa: ANN401
    return diffusers_pipeline(checkpoint)


@pytest.fixture(scope="module")
def data(checkpoint: Checkpoint) -> ConceptData:
    forget, retain = random_pictures(["a church"] * 2), random_pictures(["a dog"] * 2, seed=1)
    prompts = PromptLists(["a church"], ["a dog"])
    return encode_concept(checkpoint, forget, {"a church": ["a castle"]}, retain, prompts=prompts)


# Parity with diffusers


def test_a_picture_is_that_of_the_plain_pipeline(
    key: str,
    checkpoint: Checkpoint,
    pipeline: Any,  # noqa: ANN401
) -> None:
    assert checkpoint.architecture is ARCHITECTURES[key]
    family, (channels, side) = FAMILIES[key], FAMILIES[key].shape
    painter = Painter(checkpoint, DrawingConfig(steps=3, guidance=3.1), CPU, 16)
    for request in (Request("a church", 3), Request("a dog", 4, 1.0, width=24, height=16)):
        width, height = request.width or 16, request.height or 16
        noise = initial_noise([request.seed], (channels, height // side, width // side))
        plain = pipeline(
            prompt=request.prompt,
            latents=family.told_to_pipeline(noise),
            num_inference_steps=3,
            width=width,
            height=height,
            **family.settings(3.1 if request.guidance is None else request.guidance),
        ).images[0]
        (ours,) = painter.draw([request])
        apart = np.asarray(ours, dtype=np.int16) - np.asarray(plain, dtype=np.int16)
        assert np.abs(apart).max() <= 1  # both round to bytes
        assert np.asarray(ours).std() > 5  # there is something to see


def test_prompts_are_told_as_the_pipeline_does(
    checkpoint: Checkpoint,
    pipeline: Any,  # noqa: ANN401
) -> None:
    prompts = ["a church", "a dog on a hill", ""]
    theirs = pipeline.encode_prompt(list(prompts))[0]
    ours = build_text_encoder(checkpoint)(prompts)
    for n, row in enumerate(theirs):
        words = ours.tensors[ATTENDED][n].sum() if ATTENDED in ours.tensors else len(row)
        torch.testing.assert_close(ours.tokens[n, :words], row[:words], rtol=0, atol=1e-6)
        assert not ours.tokens[n, words:].any()


def test_the_last_word_is_where_two_prompts_that_end_alike_begin_to_be_alike(
    checkpoint: Checkpoint,
) -> None:
    text = build_text_encoder(checkpoint)
    prompts = ["a church", "a churck", ""]
    (words,), last = text.tokenize(prompts), text.last_words(prompts)
    dropped = getattr(text, "chat").dropped  # noqa: B009
    differing = (words.ids[0] != words.ids[1]).nonzero().flatten() - dropped
    assert last[0] == last[1] == differing.item()
    assert last[2] == last[0] - len("a church")


def test_a_batch_is_answered_as_its_samples_and_prompts_are_heard(
    key: str, checkpoint: Checkpoint
) -> None:
    denoise = checkpoint.architecture.denoiser(build_network(checkpoint))
    said = build_text_encoder(checkpoint)(["a church", "a dog on a hill"])
    channels, side = FAMILIES[key].shape
    x = torch.randn(2, channels, 16 // side, 24 // side, generator=seeded(1))
    s = torch.tensor([0.9, 0.1])
    with torch.no_grad():
        together = denoise(x, s, said)
        for n in range(2):
            row = torch.tensor([n])
            alone = denoise(x[row], s[row], said[row])
            torch.testing.assert_close(alone, together[row], rtol=0, atol=1e-5)
        other = denoise(x, s, said[torch.tensor([1, 0])])
    assert not torch.allclose(other, together, atol=1e-3)


# Erasing and files


SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "salun": {"batch_size": 2},
    "ascent": {"batch_size": 2},
    "esd": {"batch_size": 1, "rollout_steps": 2},
    "leco": {"batch_size": 1, "rollout_steps": 2},
    "sdd": {"batch_size": 1, "rollout_steps": 2},
    "erasediff": {"batch_size": 1},
}


@pytest.mark.default("z_image")
def test_each_method_moves_what_the_mask_selects_and_nothing_else(
    checkpoint: Checkpoint, data: ConceptData
) -> None:
    mask = find_mask(checkpoint, data, "random", density=0.3, scope="attn")
    base = {name: checkpoint.network[name] for name in mask.entries}
    for name, settings in SETTINGS.items():
        method = METHODS[name](steps=1, learning_rate=1e-3, **settings)
        edit = erase(checkpoint, data, mask, method, concept="church")
        assert 0 < edit.provenance.last.moved <= mask.selected, name
        after = {name: edit.network[name] for name in mask.entries}
        assert_same_bits(after, base, outside(mask.entries))


@pytest.mark.default("z_image")
def test_an_erased_model_loads_in_diffusers_from_a_folder_and_comes_back_from_a_file(
    checkpoint: Checkpoint, data: ConceptData, tmp_path: Path
) -> None:
    mask = find_mask(checkpoint, data, "salient", density=0.3, scope="attn")
    method = METHODS["salun"](steps=1, batch_size=2, learning_rate=1e-3)
    edit = erase(checkpoint, data, mask, method, concept="church")
    out, file = tmp_path / "erased", tmp_path / "erased.safetensors"
    write_folder(checkpoint, out, network=edit.network, provenance=edit.provenance)
    assert verify(out).passed
    kind = getattr(diffusers, checkpoint.architecture.pipeline)
    loaded = kind.from_pretrained(out, local_files_only=True)
    assert_same_bits(loaded.transformer.state_dict(), dict(edit.network))
    vae = loaded.vae.state_dict()
    assert vae.keys() == checkpoint.components["vae"].keys()
    assert all(torch.equal(vae[n], w) for n, w in checkpoint.components["vae"].items())
    base = diffusers_pipeline(checkpoint).text_encoder.get_input_embeddings().weight
    assert torch.equal(loaded.text_encoder.get_input_embeddings().weight, base)
    again = read_checkpoint(out)
    assert_same_bits(
        dict(again.components["text_encoder"]), dict(checkpoint.components["text_encoder"])
    )
    # A published file holds the transformer alone, under bare names.
    write_single_file(checkpoint, file, network=edit.network, provenance=edit.provenance)
    assert verify(file).passed
    back = read_checkpoint(file, config=out)
    assert_same_bits(dict(back.network), dict(edit.network))
    assert back.in_file == {"transformer"}


@pytest.mark.default("flux2_klein")
def test_passes_are_counted_without_contents(key: str, checkpoint: Checkpoint) -> None:
    configs, side = checkpoint.description.components, FAMILIES[key].shape[1]
    size = (16 // side, 16 // side)
    cost = network_cost(checkpoint.architecture, configs["transformer"], size, scope="attn")
    assert 0 < cost.block < cost.saved
    assert cost.flops > 0
    assert cost.loose < sum(weight.numel() for weight in checkpoint.network.values())
    # What comes out is in float32: three colours of 16 x 16 pixels, and two numbers a latent.
    assert decoder_cost(configs["vae"], size).live >= 4 * 3 * 16**2
    assert encoder_cost(configs["vae"], (16, 16)).live >= 4 * 2 * 4 * (16 // 2) ** 2


# Bad input


def test_a_bare_transformer_needs_a_folder_with_what_it_lacks(
    checkpoint: Checkpoint, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "alone.safetensors"
    save_file({n: w.contiguous() for n, w in checkpoint.network.items()}, file)
    assert_same_bits(dict(read_checkpoint(file, config=folder).network), dict(checkpoint.network))
    with pytest.raises(CheckpointError, match=r"give config=FOLDER"):
        read_checkpoint(file)


def test_scopes_and_closed_forms_of_cross_attention_say_what_to_take(
    checkpoint: Checkpoint, data: ConceptData
) -> None:
    with pytest.raises(ConfigError, match=r"'xattn' is of other models: .* take 'text"):
        checkpoint.architecture.candidates(checkpoint.network, "xattn")
    mask = find_mask(checkpoint, data, "all", scope="text-in")
    with pytest.raises(ConfigError, match=r"has no cross-attention, which is what rece rewrites"):
        erase(checkpoint, data, mask, METHODS["rece"]())


def test_sizes_that_make_no_patches_are_refused(key: str, checkpoint: Checkpoint) -> None:
    family, described = checkpoint.architecture, checkpoint.description
    channels, side = FAMILIES[key].shape
    assert family.latent_shape(described, 16, 24) == (channels, 16 // side, 24 // side)
    with pytest.raises(ConfigError, match="multiples of 4"):
        family.latent_shape(described, 16, 14)


def test_tokenizer_files_that_are_missing_are_named(checkpoint: Checkpoint) -> None:
    wordless = replace(checkpoint, description=checkpoint.description.speaking(tokenizer={}))
    with pytest.raises(CheckpointError, match=r"no files of Qwen's tokenizer .*tokenizer\.json"):
        build_text_encoder(wordless)
