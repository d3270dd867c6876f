"""FLUX.1 dev and schnell on tiny random pipelines: as diffusers, masked, erased, proved."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from support.models.pipelines import diffusers_pipeline
from support.models.tiny_flow import write_flux
from support.tiny import CPU, assert_same_bits, outside, random_pictures, seeded
from torch import Tensor

from erasure import erase, find_mask, read_checkpoint, verify, write_folder
from erasure.architectures.building import (
    build_network,
    build_text_encoder,
    schedule_of,
)
from erasure.architectures.registry import ARCHITECTURES
from erasure.architectures.text.joint_encoders import POOLED
from erasure.architectures.transformer.flux import FluxDenoiser
from erasure.architectures.transformer.packing import packed, patch_places, unpacked
from erasure.checkpoints import write_single_file
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.batches import PictureBatches
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.latents import Draw, noised
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.denoiser import TOKENS
from erasure.diffusion.sample import sampling_step, sampling_times
from erasure.diffusion.schedule import RectifiedFlow
from erasure.diffusion.scores.measuring import measure_scores
from erasure.diffusion.scores.saliency import SaliencyConfig, forget_loss, guided
from erasure.diffusion.scores.summing import Measuring
from erasure.errors import CheckpointError, ConfigError
from erasure.methods import Esd, SalUn, Uce
from erasure.seeds import initial_noise
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter
from pipelines.drawing.requests import Request

KINDS = ["flux_dev", "flux_schnell"]
PLAIN = SaliencyConfig(loss="plain")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    place = tmp_path_factory.mktemp("flux")
    return {kind: read_checkpoint(write_flux(place / kind, kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def data(models: dict[str, Checkpoint]) -> ConceptData:
    forget, retain = random_pictures(["a church"] * 4), random_pictures(["a dog"] * 4, seed=1)
    instead = {"a church": ["a castle"]}
    prompts = PromptLists(["a church"], ["a dog"])
    return encode_concept(models["flux_dev"], forget, instead, retain, prompts=prompts)


# Packing and times


def test_latents_are_packed_as_the_pipeline_does_and_come_back() -> None:
    x = torch.randn(2, 3, 4, 6, generator=seeded())
    theirs = FluxPipeline._pack_latents(x, 2, 3, 4, 6)
    assert torch.equal(packed(x), theirs)
    assert torch.equal(packed(x)[0, 0], x[0, :, :2, :2].flatten())
    assert torch.equal(unpacked(packed(x), 4, 6), x)
    places = FluxPipeline._prepare_latent_image_ids(2, 2, 3, CPU, torch.float32)
    assert torch.equal(patch_places(4, 6, x), places)


def test_a_step_along_the_true_velocity_lands_on_the_line() -> None:
    flow = RectifiedFlow(shift=3.0)
    x_0, noise = torch.randn(2, 3, 2, 4, 4, generator=seeded(), dtype=torch.float64)
    times = sampling_times(flow, 4).double()
    assert float(times[0]) == 1.0
    assert (times.diff() < 0).all()
    now, after = (torch.full((3,), float(t), dtype=torch.float64) for t in times[1:3])
    x_s = flow.add_noise(x_0, noise, now)
    stepped = sampling_step(flow, x_s, noise - x_0, float(now[0]), float(after[0]))
    torch.testing.assert_close(stepped, flow.add_noise(x_0, noise, after))


def test_guidance_is_the_same_on_velocity_picture_and_noise() -> None:
    x_s, one, other = torch.randn(3, 2, 4, 4, generator=seeded(), dtype=torch.float64)
    s, g = 0.3, 4.5
    v = guided(one, other, g)
    for lead in (lambda v: x_s - s * v, lambda v: x_s + (1 - s) * v):
        torch.testing.assert_close(lead(v), guided(lead(one), lead(other), g))


# Parity with diffusers


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_that_of_the_plain_pipeline(models: dict[str, Checkpoint], kind: str) -> None:
    assert models[kind].architecture is ARCHITECTURES[kind]
    pipeline = diffusers_pipeline(models[kind])
    painter = Painter(models[kind], DrawingConfig(steps=3, guidance=3.1), CPU, 16)
    for request in (Request("a church", 3), Request("a dog", 4, 1.0, width=24, height=16)):
        width, height = request.width or 16, request.height or 16
        plain = pipeline(
            request.prompt,
            latents=packed(initial_noise([request.seed], (4, height // 2, width // 2))),
            num_inference_steps=3,
            guidance_scale=3.1 if request.guidance is None else request.guidance,
            width=width,
            height=height,
            max_sequence_length=512 if kind == "flux_dev" else 256,
        ).images[0]
        (ours,) = painter.draw([request])
        apart = np.asarray(ours, dtype=np.int16) - np.asarray(plain, dtype=np.int16)
        assert np.abs(apart).max() <= 1  # both round to bytes
        assert np.asarray(ours).std() > 5  # there is something to see


def test_a_batch_is_answered_as_its_samples_and_guidance_is_heard(
    models: dict[str, Checkpoint],
) -> None:
    denoise = FluxDenoiser(build_network(models["flux_dev"]))
    conditions = build_text_encoder(models["flux_dev"])(["a church", "a dog"])
    x, s = torch.randn(2, 4, 8, 8, generator=seeded(1)), torch.tensor([0.9, 0.1])
    with torch.no_grad():
        together = denoise(x, s, conditions)
        for n in range(2):
            row = torch.tensor([n])
            alone = denoise(x[row], s[row], conditions[row])
            torch.testing.assert_close(alone, together[row], rtol=0, atol=1e-6)
        same = denoise(x, s, conditions.having(guidance=torch.ones(2)))
        other = denoise(x, s, conditions.having(guidance=torch.full((2,), 3.5)))
    assert torch.equal(same, together)
    assert not torch.allclose(other, together)


@dataclass
class Perfect:
    """Called as the transformer is, it answers the true velocity of packed latents."""

    velocity: Tensor
    t: Tensor
    config: Any

    def __call__(self, *, timestep: Tensor, **others: Any) -> tuple[Tensor]:  # noqa: ANN401
        assert torch.equal(timestep, self.t)
        return (packed(self.velocity),)


def test_a_perfect_transformer_has_no_loss(
    models: dict[str, Checkpoint], data: ConceptData
) -> None:
    schedule = schedule_of(models["flux_dev"])
    batch = noised(data.forget, data.prompts, schedule, [Draw(0, ("x", 0)), Draw(1, ("x", 1))])
    config = build_network(models["flux_dev"]).config
    network: Any = Perfect(batch.target, batch.t, config)
    losses = forget_loss(FluxDenoiser(network), batch, data.prompts, PLAIN)
    assert float(losses.abs().max()) == 0.0


def test_a_replaced_prompt_is_replaced_for_t5_and_for_clip(
    models: dict[str, Checkpoint], data: ConceptData
) -> None:
    wanted = build_text_encoder(models["flux_dev"])(["a church", "a castle", ""])
    schedule = schedule_of(models["flux_dev"])
    batch = PictureBatches(data, schedule, 0, CPU).at(0, 2, None, None)  # type: ignore[arg-type]
    for name in (TOKENS, POOLED):
        church, castle, nothing = wanted.named(name)
        assert not torch.allclose(church, castle)
        assert not torch.allclose(church, nothing)
        assert torch.equal(batch.forget.condition.named(name), torch.stack([church] * 2))
        assert torch.equal(batch.replacement.named(name), torch.stack([castle] * 2))
        assert torch.equal(data.prompts.named(name)[0], nothing)  # what guidance leads away from


# Masks, erasing and files


def test_the_guided_loss_is_refused_and_the_plain_one_named(
    models: dict[str, Checkpoint], data: ConceptData
) -> None:
    with pytest.raises(ConfigError, match=r"FLUX\.1 dev is told its guidance .*loss='plain'"):
        find_mask(models["flux_dev"], data)


def test_every_weight_of_flux_gets_a_gradient_and_single_blocks_are_a_scope(
    models: dict[str, Checkpoint], data: ConceptData
) -> None:
    checkpoint = models["flux_dev"]
    family, names = checkpoint.architecture, list(checkpoint.network)
    assert family.candidates(names, "full") == names
    scores = measure_scores(checkpoint, data, names, Measuring(config=replace(PLAIN, batch_size=2)))
    assert {name for name in names if not scores[name].any()} == set()
    chosen = family.candidates(names, "single")
    assert chosen
    assert all(name.startswith("single_transformer_blocks.") for name in chosen)
    kinds = {family.layers.kind_of(name) for name in chosen}
    assert kinds == {"attn", "ff", "modulation", "norm"}


METHODS: Mapping[str, Any] = {
    "salun": SalUn(steps=1, batch_size=2, learning_rate=1e-3),
    "esd": Esd(steps=1, batch_size=2, rollout_steps=3, learning_rate=1e-3),
    "uce": Uce(),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_concept_is_erased_and_the_folder_loads_in_diffusers(
    models: dict[str, Checkpoint], data: ConceptData, tmp_path: Path, name: str
) -> None:
    checkpoint, method = models["flux_dev"], METHODS[name]
    scope = "text-in" if name == "uce" else "attn"
    mask = find_mask(checkpoint, data, "random", density=0.3, scope=scope)
    edit = erase(checkpoint, data, mask, method, concept="church")
    assert 0 < edit.provenance.last.moved <= mask.selected
    base = {name: checkpoint.network[name] for name in mask.entries}
    after = {name: edit.network[name] for name in mask.entries}
    assert_same_bits(after, base, outside(mask.entries))
    out, file = tmp_path / "erased", tmp_path / "erased.safetensors"
    write_folder(checkpoint, out, network=edit.network, provenance=edit.provenance)
    assert verify(out).passed
    loaded = FluxPipeline.from_pretrained(out, local_files_only=True)
    assert_same_bits(loaded.transformer.state_dict(), dict(edit.network))
    # A published file of FLUX holds the transformer alone, under bare names.
    write_single_file(checkpoint, file, network=edit.network, provenance=edit.provenance)
    assert verify(file).passed
    back = read_checkpoint(file, config=out)
    assert_same_bits(dict(back.network), dict(edit.network))
    assert back.in_file == {"transformer"}


def test_uce_leads_the_words_of_the_concept_to_those_of_its_replacement(
    models: dict[str, Checkpoint], data: ConceptData
) -> None:
    checkpoint = models["flux_dev"]
    mask = find_mask(checkpoint, data, "all", scope="text-in")
    edit = erase(checkpoint, data, mask, Uce(ridge=1e-6, preserve_weight=1e-3))
    name = "context_embedder.weight"
    assert data.texts is not None
    one, other = (data.prompts.tokens[n, data.texts.last[n]].double() for n in (1, 2))
    old, new = checkpoint.network[name].double(), edit.network[name].double()
    gap = float((old @ one - old @ other).norm())
    assert gap > 1e-3  # the effect is there before erasing
    assert float((new @ one - old @ other).norm()) < gap / 50
    # The layer adds its bias to both: it is no part of what the weight is solved for.
    bias = checkpoint.network["context_embedder.bias"].double()
    assert bias.any()
    assert torch.equal(edit.network["context_embedder.bias"].double(), bias)
    assert float((new @ one + bias - (old @ other + bias)).norm()) < gap / 50


# Bad input


def test_a_distilled_model_is_said_to_be_one(models: dict[str, Checkpoint]) -> None:
    (note,) = models["flux_schnell"].notes
    assert "distilled to 4 steps" in note
    assert "FLUX.1-dev" in note
    assert models["flux_dev"].notes == ()


def test_a_fill_model_is_called_by_its_name(models: dict[str, Checkpoint]) -> None:
    checkpoint = models["flux_dev"]
    config = {**checkpoint.description.components["transformer"], "in_channels": 96}
    described = checkpoint.description.having(transformer=config)
    with pytest.raises(CheckpointError, match="a Fill model, which is given a mask"):
        checkpoint.architecture.check_configs(described, "this")


def test_a_size_that_does_not_pack_is_refused(models: dict[str, Checkpoint]) -> None:
    family, described = models["flux_dev"].architecture, models["flux_dev"].description
    with pytest.raises(ConfigError, match="multiples of 4"):
        family.latent_shape(described, 16, 14)
