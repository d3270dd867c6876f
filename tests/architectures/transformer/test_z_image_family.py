"""Z-Image on a tiny random pipeline: its sign, its layout, its scopes, what it says of itself."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from diffusers import ZImageTransformer2DModel
from diffusers.loaders.single_file_utils import (
    convert_z_image_transformer_checkpoint_to_diffusers as to_theirs,
)
from support.models.tiny_chat import write_z_image
from support.tiny import assert_same_bits, random_pictures
from torch import Tensor

from erasure import erase, find_mask, read_checkpoint
from erasure.architectures.building import schedule_of
from erasure.architectures.transformer.z_image import ZImageDenoiser
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.layout import z_image
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.latents import Draw, noised
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.scores.measuring import measure_scores
from erasure.diffusion.scores.saliency import SaliencyConfig, forget_loss
from erasure.diffusion.scores.summing import Measuring
from erasure.errors import ConfigError
from erasure.methods import Uce


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return read_checkpoint(write_z_image(tmp_path_factory.mktemp("z") / "z"))


@pytest.fixture(scope="module")
def data(checkpoint: Checkpoint) -> ConceptData:
    forget, retain = random_pictures(["a church"] * 2), random_pictures(["a dog"] * 2, seed=1)
    prompts = PromptLists(["a church"], ["a dog"])
    return encode_concept(checkpoint, forget, {"a church": ["a castle"]}, retain, prompts=prompts)


@dataclass
class Perfect:
    """Called as the transformer is, it answers x_0 - eps, frame by frame."""

    velocity: Tensor
    t: Tensor

    def __call__(
        self,
        latents: list[Tensor],
        t: Tensor,
        words: list[Tensor],
        **more: Any,  # noqa: ANN401
    ) -> tuple[list[Tensor]]:
        torch.testing.assert_close(t, 1 - self.t)
        lengths = {len(row) for row in words}
        assert max(lengths) < 64  # padding is not told
        return (list(-self.velocity[:, :, None]),)


def test_a_perfect_transformer_has_no_loss(checkpoint: Checkpoint, data: ConceptData) -> None:
    draws = [Draw(0, ("x", 0)), Draw(1, ("x", 1))]
    batch = noised(data.forget, data.prompts, schedule_of(checkpoint), draws)
    network: Any = Perfect(batch.target, batch.t)
    plain = SaliencyConfig(loss="plain")
    losses = forget_loss(ZImageDenoiser(network), batch, data.prompts, plain)
    assert float(losses.abs().max()) == 0.0


def test_names_and_values_of_a_published_file_are_those_of_diffusers(
    checkpoint: Checkpoint,
) -> None:
    original = z_image.to_original(checkpoint.network)
    assert_same_bits(to_theirs(dict(original)), dict(checkpoint.network))
    assert_same_bits(z_image.to_diffusers(original), dict(checkpoint.network))
    base = checkpoint.network["layers.1.attention.to_v.weight"]
    assert torch.equal(original["layers.1.attention.qkv.weight"][2 * 32 + 3], base[3])
    published = {**original, "norm_final.weight": torch.ones(32)}
    assert_same_bits(z_image.used(published), original)


def test_the_published_size_has_as_many_weights_as_is_said() -> None:
    with torch.device("meta"):
        network = ZImageTransformer2DModel()
    weights = network.state_dict()
    assert round(sum(weight.numel() for weight in weights.values()) / 1e9, 2) == 6.15
    back = z_image.to_diffusers(z_image.to_original(weights))
    assert {n: w.shape for n, w in back.items()} == {n: w.shape for n, w in weights.items()}


def test_all_but_the_fillers_can_be_selected_and_gets_a_gradient(
    checkpoint: Checkpoint, data: ConceptData
) -> None:
    family, names = checkpoint.architecture, list(checkpoint.network)
    full = family.candidates(names, "full")
    assert set(names) - set(full) == {"x_pad_token", "cap_pad_token"}
    scores = measure_scores(checkpoint, data, full, Measuring(config=SaliencyConfig(batch_size=2)))
    assert {name for name in full if not scores[name].any()} == set()
    chosen = family.candidates(names, "single")
    assert {family.layers.block_of(name) for name in chosen} == {"single.0", "single.1"}
    assert {family.layers.kind_of(name) for name in chosen} == {"attn", "ff", "modulation", "norm"}
    assert set(family.candidates(names, "text-in")) == {
        *(f"cap_embedder.{part}" for part in ("0.weight", "1.weight", "1.bias"))
    }
    assert {family.layers.block_of(name) for name in names} == {
        *("in", "text", "time", "out", "in.0", "text.0", "single.0", "single.1")
    }
    with pytest.raises(ConfigError, match="all blocks of this model are of one kind"):
        family.candidates(names, "double")


def test_the_distilled_one_that_no_file_tells_apart_is_named(checkpoint: Checkpoint) -> None:
    (note,) = checkpoint.notes
    assert "Z-Image-Turbo has the same configs and was distilled to 8 steps" in note


def test_closed_forms_say_that_a_training_is_needed(
    checkpoint: Checkpoint, data: ConceptData
) -> None:
    mask = find_mask(checkpoint, data, "all", scope="text-in")
    with pytest.raises(ConfigError, match="take a method that trains, such as salun or esd"):
        erase(checkpoint, data, mask, Uce())
